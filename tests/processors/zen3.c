/* Answer CPUID as an AMD EPYC of Zen 3 does, at full speed, on a processor of Intel.

   Linux lets a thread fault at CPUID (arch_prctl, ARCH_SET_CPUID); the handler gives vendor, family,
   features and caches of Zen 3, so that MKL, oneDNN, ATen and OpenBLAS choose the kernels that they
   choose there. What stays that of the machine: the silicon, whose add, multiply and fused
   multiply-add IEEE 754 fixes to the bit, and what is asked before this library is loaded.

   Built with: cc -O2 -shared -fPIC -o zen3.so zen3.c -ldl; used with LD_PRELOAD. A process in which the
   kernel refuses ends at once with status 77. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef ARCH_SET_CPUID
#define ARCH_SET_CPUID 0x1012
#endif

struct answer {
  uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

/* AMD's Processor Programming Reference for family 19h model 01h; every other leaf answers 0. */
static const struct answer ZEN3[] = {
    {0x00000000, 0, 0x0000000d, 0x68747541, 0x444d4163, 0x69746e65}, /* AuthenticAMD */
    {0x00000001, 0, 0x00a00f11, 0x00020800, 0xfed8320b, 0x178bfbff}, /* family 25; AVX, FMA, F16C */
    {0x00000007, 0, 0x00000000, 0x219c97a9, 0x00400684, 0x00000010}, /* AVX2, BMI; no AVX-512 */
    {0x0000000b, 0, 0x00000000, 0x00000001, 0x00000100, 0x00000000},
    {0x0000000b, 1, 0x00000001, 0x00000002, 0x00000201, 0x00000000},
    {0x0000000d, 0, 0x00000207, 0x00000988, 0x00000988, 0x00000000},
    {0x0000000d, 1, 0x00000003, 0x00000340, 0x00000000, 0x00000000},
    {0x0000000d, 2, 0x00000100, 0x00000240, 0x00000000, 0x00000000},
    {0x80000000, 0, 0x8000001e, 0x68747541, 0x444d4163, 0x69746e65},
    {0x80000001, 0, 0x00a00f11, 0x40000000, 0x75c237ff, 0x2fd3fbff},
    {0x80000002, 0, 0x20444d41, 0x43595045, 0x6c694d2d, 0x50206e61}, /* AMD EPYC-Milan P */
    {0x80000003, 0, 0x65636f72, 0x726f7373, 0x00000000, 0x00000000}, /* rocessor */
    {0x80000005, 0, 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140}, /* 32 KiB of L1 */
    {0x80000006, 0, 0x48002200, 0x68004200, 0x02006140, 0x08009140}, /* 512 KiB of L2, 32 MiB of L3 */
    {0x80000008, 0, 0x00003030, 0x00000000, 0x00000001, 0x00000000},
    {0x8000001d, 0, 0x00004121, 0x01c0003f, 0x0000003f, 0x00000000},
    {0x8000001d, 1, 0x00004122, 0x01c0003f, 0x0000003f, 0x00000000},
    {0x8000001d, 2, 0x00004143, 0x01c0003f, 0x000003ff, 0x00000002},
    {0x8000001d, 3, 0x00004163, 0x03c0003f, 0x00007fff, 0x00000001},
    {0x8000001e, 0, 0x00000000, 0x00000100, 0x00000000, 0x00000000},
};

static int (*install)(int, const struct sigaction *, struct sigaction *);

static int has_subleaves(uint32_t leaf) {
  return leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;
}

static void answer(greg_t *registers) {
  uint32_t leaf = (uint32_t)registers[REG_RAX], subleaf = (uint32_t)registers[REG_RCX];
  registers[REG_RAX] = registers[REG_RBX] = registers[REG_RCX] = registers[REG_RDX] = 0;
  for (unsigned i = 0; i < sizeof ZEN3 / sizeof *ZEN3; i++) {
    const struct answer *one = &ZEN3[i];
    if (one->leaf != leaf || (has_subleaves(leaf) && one->subleaf != subleaf)) continue;
    registers[REG_RAX] = one->eax;
    registers[REG_RBX] = one->ebx;
    registers[REG_RCX] = one->ecx;
    registers[REG_RDX] = one->edx;
  }
}

static void on_fault(int number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)registers[REG_RIP];
  if (info->si_code == SI_KERNEL && code[0] == 0x0f && code[1] == 0xa2) { /* CPUID */
    answer(registers);
    registers[REG_RIP] += 2;
  } else { /* a true fault: it happens again, and ends the process as it would have */
    struct sigaction usual = {.sa_handler = SIG_DFL};
    install(number, &usual, 0);
  }
}

/* Keep the handler: pytest's faulthandler would take its place. */
int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
  if (!install) install = dlsym(RTLD_NEXT, "sigaction");
  return install(number, number == SIGSEGV ? 0 : wanted, before);
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  if (!install) install = dlsym(RTLD_NEXT, "sigaction");
  install(SIGSEGV, &ours, 0);
  if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0)) _exit(77);
}
