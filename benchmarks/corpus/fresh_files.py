# ruff: noqa: E501 - tables of texts
"""Writes configurations, notebooks and other texts in the style of well-known projects. Run by fresh_benign.py."""

import json

import fresh_put
from fresh_put import add, attempt, text

HYDRA = """defaults:
  - data: mnist
  - _self_
task_name: train
tags: [dev]
seed: 12345
paths:
  root_dir: ${oc.env:PROJECT_ROOT}
  output_dir: ${hydra:runtime.output_dir}
"""
FILES = {
    "hydra root": ("train.yaml", HYDRA),
    "hydra model": ("resnet.yaml", "_target_: torchvision.models.resnet18\nnum_classes: 10\nweights: null\n"),
    "hydra optimizer": (
        "adam.yaml",
        "optimizer:\n  _target_: torch.optim.Adam\n  _partial_: true\n  lr: 0.001\n  weight_decay: 0.0\nscheduler:\n  _target_: torch.optim.lr_scheduler.ReduceLROnPlateau\n  _partial_: true\n  mode: min\n  factor: 0.1\n  patience: 10\n",
    ),
    "hydra trainer": (
        "trainer.yaml",
        "_target_: lightning.pytorch.trainer.Trainer\ndefault_root_dir: out\nmin_epochs: 1\nmax_epochs: 10\naccelerator: cpu\ncallbacks:\n  - _target_: lightning.pytorch.callbacks.ModelCheckpoint\n    monitor: val/loss\n    mode: min\n",
    ),
    "Lightning command line": (
        "config.yaml",
        "seed_everything: 42\ntrainer:\n  accelerator: auto\n  logger:\n    class_path: lightning.pytorch.loggers.CSVLogger\n    init_args:\n      save_dir: logs\nmodel:\n  lr: 0.02\noptimizer:\n  class_path: torch.optim.AdamW\n  init_args:\n    lr: 0.001\n",
    ),
    "YOLO data": (
        "coco8.yaml",
        "path: ../datasets/coco8\ntrain: images/train\nval: images/val\ntest:\nnames:\n  0: person\n  1: bicycle\n  2: car\n",
    ),
    "YOLO model": (
        "yolov8.yaml",
        "nc: 80\nscales:\n  n: [0.33, 0.25, 1024]\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\n  - [-1, 3, C2f, [128, True]]\nhead:\n  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]\n  - [[15, 18, 21], 1, Detect, [nc]]\n",
    ),
    "detectron": (
        "Base-RCNN-FPN.yaml",
        'MODEL:\n  META_ARCHITECTURE: "GeneralizedRCNN"\n  BACKBONE:\n    NAME: "build_resnet_fpn_backbone"\n  WEIGHTS: "detectron2://ImageNetPretrained/MSRA/R-50.pkl"\nSOLVER:\n  STEPS: (60000, 80000)\n  MAX_ITER: 90000\n',
    ),
    "stable diffusion": (
        "v1-inference.yaml",
        "model:\n  base_learning_rate: 1.0e-04\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    linear_start: 0.00085\n    unet_config:\n      target: ldm.modules.diffusionmodules.openaimodel.UNetModel\n      params:\n        image_size: 32\n        in_channels: 4\n",
    ),
    "accelerate": (
        "default_config.yaml",
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\ndowncast_bf16: 'no'\nmixed_precision: fp16\nnum_machines: 1\nnum_processes: 2\n",
    ),
    "axolotl": (
        "lora.yml",
        "base_model: NousResearch/Llama-2-7b-hf\nload_in_8bit: true\ndatasets:\n  - path: mhenrichsen/alpaca_2k_test\n    type: alpaca\nadapter: lora\nlora_r: 32\nlora_target_modules: [q_proj, v_proj]\nspecial_tokens:\n",
    ),
    "DeepSpeed": (
        "ds_config.json",
        {
            "train_batch_size": 16,
            "zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}},
            "fp16": {"enabled": True},
        },
    ),
    "conda": (
        "environment.yml",
        "name: ml\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - numpy=1.26.4\n  - pip\n  - pip:\n    - torch==2.3.0\n",
    ),
    "requirements": ("requirements.txt", "numpy==1.26.4\npandas==2.2.2\nscikit-learn==1.4.2\ntorch==2.3.0\n"),
    "DVC": (
        "dvc.yaml",
        "stages:\n  train:\n    cmd: python train.py\n    deps:\n      - data/train.csv\n    params:\n      - lr\n    outs:\n      - model.pkl\n    metrics:\n      - metrics.json:\n          cache: false\n",
    ),
    "compose": (
        "docker-compose.yml",
        'services:\n  api:\n    image: example/api@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n    user: "1000:1000"\n    read_only: true\n    ports: ["127.0.0.1:8000:8000"]\n    mem_limit: 2g\n    cpus: 2\n',
    ),
    "Dockerfile": (
        "Dockerfile",
        'FROM python:3.11-slim@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install --no-cache-dir -r requirements.txt\nCOPY model/ model/\nCOPY app.py .\nRUN useradd -m app\nUSER app\nHEALTHCHECK CMD python -c \'print(1)\'\nCMD ["python", "app.py"]\n',
    ),
    "Dockerfile of CUDA": (
        "Dockerfile",
        'FROM nvidia/cuda:12.1.1-runtime-ubuntu22.04\nRUN apt-get update && apt-get install -y --no-install-recommends python3-pip && rm -rf /var/lib/apt/lists/*\nCOPY . /workspace\nWORKDIR /workspace\nRUN pip3 install -r requirements.txt\nENTRYPOINT ["python3", "serve.py"]\n',
    ),
    "Kubernetes": (
        "deployment.yaml",
        'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: model}\nspec:\n  replicas: 2\n  selector: {matchLabels: {app: model}}\n  template:\n    metadata: {labels: {app: model}}\n    spec:\n      securityContext: {runAsNonRoot: true}\n      containers:\n        - name: model\n          image: example/model:1.2.0\n          resources: {limits: {cpu: "2", memory: 2Gi}}\n          securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}\n',
    ),
    "Triton": (
        "config.pbtxt",
        'name: "densenet"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 8\ninput [{ name: "x" data_type: TYPE_FP32 dims: [3, 224, 224] }]\noutput [{ name: "y" data_type: TYPE_FP32 dims: [1000] }]\n',
    ),
    "COCO": (
        "instances_val.json",
        {
            "images": [{"id": 1, "file_name": "1.jpg", "height": 4, "width": 4}],
            "annotations": [{"id": 1, "image_id": 1, "bbox": [0, 0, 2, 2], "category_id": 1}],
            "categories": [{"id": 1, "name": "cat"}],
        },
    ),
    "merges": ("merges.txt", "#version: 0.2\nĠ t\nh e\ni n\nr e\n"),
    "ImageNet classes": ("id2label.json", {"0": "tench", "1": "goldfish"}),
    "model card": (
        "README.md",
        "---\nlicense: apache-2.0\ntags: [vision]\ndatasets: [mnist]\nmetrics: [accuracy]\n---\n# Model\n\n```python\nimport torch\nmodel = torch.load('model.pt', weights_only=True)\n```\n",
    ),
    "Ollama": (
        "Modelfile",
        'FROM ./tiny-Q4_0.gguf\nTEMPLATE """{{ if .System }}<|system|>{{ .System }}{{ end }}<|user|>{{ .Prompt }}<|assistant|>"""\nPARAMETER temperature 0.7\nSYSTEM You are helpful.\n',
    ),
    "instructions": (
        "train.jsonl",
        '{"instruction": "Explain os.system in Python", "output": "It runs a command: os.system(\'ls\')"}\n{"instruction": "Sum", "output": "2"}\n',
    ),
    "PMML": (
        "tree.pmml",
        '<?xml version="1.0" encoding="UTF-8"?>\n<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header copyright="x"><Application name="JPMML-SkLearn" version="1.7"/></Header><DataDictionary><DataField name="x" optype="continuous" dataType="double"/><DataField name="y" optype="continuous" dataType="double"/></DataDictionary><RegressionModel functionName="regression"><MiningSchema><MiningField name="y" usageType="target"/><MiningField name="x"/></MiningSchema><RegressionTable intercept="1.5"><NumericPredictor name="x" coefficient="2"/></RegressionTable></RegressionModel></PMML>\n',
    ),
    "chat template": (
        "chat_template.jinja",
        "{%- for m in messages -%}\n<start_of_turn>{{ m.role if m.role != 'assistant' else 'model' }}\n{{ m.content | trim }}<end_of_turn>\n{%- endfor -%}\n{%- if add_generation_prompt %}<start_of_turn>model\n{%- endif %}",
    ),
}
SCRIPT = '''"""Trains a small classifier."""

import argparse

import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    x, y = load_iris(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=args.seed)
    model = RandomForestClassifier(random_state=args.seed).fit(x_train, y_train)
    print("accuracy", np.mean(model.predict(x_test) == y_test))


if __name__ == "__main__":
    main()
'''
MODELING = """import torch
from torch import nn


class Head(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(x).mean(1))
"""


def notebook(*cells):
    made = [
        {
            "cell_type": kind,
            "metadata": {},
            "source": source.splitlines(keepends=True),
            **({"outputs": [], "execution_count": 1} if kind == "code" else {}),
        }
        for kind, source in cells
    ]
    return {
        "cells": made,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def files():
    for name, (file, value) in FILES.items():
        add("other", name, file, lambda path, value=value: text(path, value))
    add("other", "script", "train.py", lambda path: text(path, SCRIPT))
    add("other", "model code", "modeling_head.py", lambda path: text(path, MODELING))
    add(
        "other",
        "notebook",
        "eda.ipynb",
        lambda path: text(
            path,
            notebook(
                ("markdown", "# Iris"),
                ("code", SCRIPT),
                ("code", "import matplotlib.pyplot as plt\nplt.hist([1, 2, 3]);"),
            ),
        ),
    )
    add(
        "other",
        "notebook of training",
        "train.ipynb",
        lambda path: text(
            path,
            notebook(
                ("code", MODELING),
                (
                    "code",
                    "opt = torch.optim.Adam(Head(4, 2).parameters())\nfor _ in range(3):\n    opt.zero_grad()",
                ),
            ),
        ),
    )

    def project(path):
        for file, value in {
            "README.md": "# project\n",
            "conf/config.yaml": HYDRA,
            "conf/model/resnet.yaml": FILES["hydra model"][1],
            "src/train.py": SCRIPT,
            "requirements.txt": FILES["requirements"][1],
            "data/labels.json": json.dumps(["a"]),
            ".gitignore": "*.ckpt\n",
        }.items():
            text(path / file, value)

    add("other", "project folder", "project", project)


if __name__ == "__main__":
    attempt(globals()[fresh_put.NAME])
