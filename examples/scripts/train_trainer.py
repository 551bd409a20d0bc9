"""A fine-tuning script for Hugging Face's Trainer, as its examples have it."""

import argparse

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

parser = argparse.ArgumentParser()
parser.add_argument("--resume_from_checkpoint", default=None)
parser.add_argument("--output_dir", required=True)
parser.add_argument("--max_steps", type=int, default=30)
args = parser.parse_args()

set_seed(0)
config = BertConfig(
    vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
)
model = BertForSequenceClassification(config)
generator = torch.Generator().manual_seed(1)
tokens = torch.randint(5, 100, (96, 12), generator=generator)
labels = (tokens[:, 0] > tokens[:, 1]).long()
dataset = [
    {"input_ids": t, "attention_mask": torch.ones_like(t), "labels": y}
    for t, y in zip(tokens, labels, strict=True)
]
training = TrainingArguments(
    output_dir=args.output_dir,
    max_steps=args.max_steps,
    save_steps=10,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    learning_rate=1e-3,
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
)
Trainer(model=model, args=training, train_dataset=dataset).train(
    resume_from_checkpoint=args.resume_from_checkpoint
)
