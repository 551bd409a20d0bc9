"""Vision models of torchvision and timm with random weights, as far as they are installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from benchmarks.architectures.case import Case

# Name and side of the image; small sides where the architecture takes any.
TORCHVISION = {
    "alexnet": 64, "vgg11_bn": 32, "resnet18": 64, "resnet34": 64, "resnet50": 64,
    "resnext50_32x4d": 64, "densenet121": 64, "googlenet": 64, "inception_v3": 75,
    "mobilenet_v2": 64, "mobilenet_v3_small": 64, "mobilenet_v3_large": 64,
    "shufflenet_v2_x0_5": 64, "shufflenet_v2_x1_0": 64, "squeezenet1_0": 64, "squeezenet1_1": 64,
    "mnasnet0_5": 64, "mnasnet1_0": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64,
    "regnet_x_400mf": 64, "regnet_y_400mf": 64, "convnext_tiny": 64, "swin_t": 64, "swin_v2_t": 64,
    "lraspp_mobilenet_v3_large": 64, "deeplabv3_mobilenet_v3_large": 64, "fcn_resnet50": 64,
}  # fmt: skip
VIDEO = {"r3d_18": 32, "mc3_18": 32, "r2plus1d_18": 32}
TIMM = {
    "resnet10t": 64, "resnet14t": 64, "resnet26t": 64, "seresnext26t_32x4d": 64, "skresnet18": 64,
    "ecaresnet26t": 64, "res2net50_14w_8s": 64, "resnest14d": 64, "gernet_s": 64, "repvgg_a0": 64,
    "mobileone_s0": 64, "mobilevit_xxs": 64, "mobilevitv2_050": 64, "efficientformer_l1": 224,
    "efficientformerv2_s0": 224, "edgenext_xx_small": 64, "fastvit_t8": 64, "ghostnet_050": 64,
    "hardcorenas_a": 64, "lcnet_050": 64, "tinynet_e": 64, "levit_128s": 224, "pit_ti_224": 224,
    "deit_tiny_patch16_224": 224, "vit_tiny_patch16_224": 224, "cait_xxs24_224": 224,
    "crossvit_tiny_240": 240, "xcit_nano_12_p16_224": 64, "convit_tiny": 224,
    "coat_tiny": 224, "poolformer_s12": 64, "mixer_s32_224": 224, "resmlp_12_224": 224,
    "gmlp_ti16_224": 224, "convnext_atto": 64, "convnextv2_atto": 64, "mvitv2_tiny": 224,
    "pvt_v2_b0": 64, "twins_svt_small": 224, "visformer_tiny": 224, "volo_d1_224": 224,
    "tnt_s_legacy_patch16_224": 224, "coatnet_nano_rw_224": 224, "maxvit_rmlp_pico_rw_256": 256,
    "davit_tiny": 64, "dla34": 64, "dla46_c": 64, "dpn48b": 64, "cspresnet50": 64,
    "darknet53": 64, "ese_vovnet19b_dw": 64, "hrnet_w18_small": 64, "nf_regnet_b0": 64,
    "rexnet_100": 64, "semnasnet_075": 64, "spnasnet_100": 64, "fbnetc_100": 64,
    "starnet_s1": 64, "repghostnet_050": 64, "inception_next_atto": 64, "focalnet_tiny_srf": 64,
    "eva02_tiny_patch14_224": 224, "efficientvit_b0": 64, "tiny_vit_5m_224": 224,
    "gcvit_xxtiny": 224, "sequencer2d_s": 224, "mambaout_femto": 64, "hgnetv2_b0": 64,
    "efficientnet_lite0": 64, "mixnet_s": 64, "selecsls42b": 64, "tresnet_m": 64, "xception41": 64,
    "regnetz_005": 64, "repvit_m0_9": 64, "swiftformer_xs": 224, "shvit_s1": 64,
}  # fmt: skip


def image(side: int) -> Callable[[], Tensor]:
    """Return what makes two images."""
    return lambda: torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def video(side: int) -> Callable[[], Tensor]:
    """Return what makes two short clips."""
    return lambda: torch.randn(2, 3, 4, side, side, generator=torch.Generator().manual_seed(0))


def cases() -> Iterator[Case]:
    """Yield the models that can be built."""
    if find_spec("torchvision"):
        for name, side in TORCHVISION.items():
            yield Case(f"torchvision/{name}", partial(_torchvision, name), image(side))
        for name, side in VIDEO.items():
            yield Case(f"torchvision/{name}", partial(_torchvision, name), video(side))
    if find_spec("timm"):
        for name, side in TIMM.items():
            yield Case(f"timm/{name}", partial(_timm, name), image(side))


def _torchvision(name: str) -> nn.Module:
    import torchvision

    options = {"weights": None}
    if name in ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50"):
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False}
    found: nn.Module = torchvision.models.get_model(name, **options)
    return found


def _timm(name: str) -> nn.Module:
    import timm

    found: nn.Module = timm.create_model(name, pretrained=False)
    return found
