# ruff: noqa: E501, FBT002, NPY002, S106 - tables of models
"""Repositories and files of a model hub, written by transformers, tokenizers, peft and their kin. Run by third_benign.py."""

import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers as tr
from safetensors.torch import save_file
from third_good_networks import CHAT, MODELS
from third_put import SEED, put, run, text

torch.manual_seed(int(SEED) + 11)
torch.set_num_threads(1)
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs"],
]
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": 40,
}
GPT = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 40}
KINDS = {
    "Bert": ("BertForSequenceClassification", SMALL),
    "DistilBert": (
        "DistilBertForTokenClassification",
        {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "vocab_size": 40},
    ),
    "Roberta": ("RobertaForMaskedLM", SMALL),
    "GPT2": ("GPT2LMHeadModel", GPT),
    "Llama": ("LlamaForCausalLM", {**SMALL, "num_key_value_heads": 1}),
    "Mistral": ("MistralForCausalLM", {**SMALL, "num_key_value_heads": 2}),
    "Qwen2": ("Qwen2ForCausalLM", {**SMALL, "num_key_value_heads": 2}),
    "T5": (
        "T5ForConditionalGeneration",
        {"d_model": 16, "d_ff": 24, "d_kv": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 40},
    ),
    "Bart": (
        "BartForConditionalGeneration",
        {
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 24,
            "decoder_ffn_dim": 24,
            "vocab_size": 40,
        },
    ),
    "ViT": ("ViTForImageClassification", {**SMALL, "image_size": 16, "patch_size": 8}),
    "Electra": ("ElectraForPreTraining", {**SMALL, "embedding_size": 16}),
    "Albert": ("AlbertModel", {**SMALL, "embedding_size": 8}),
    "OPT": (
        "OPTForCausalLM",
        {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "ffn_dim": 24,
            "vocab_size": 40,
            "word_embed_proj_dim": 16,
        },
    ),
    "Bloom": ("BloomForCausalLM", {"hidden_size": 16, "n_layer": 1, "n_head": 2, "vocab_size": 40}),
    "Gemma2": ("Gemma2ForCausalLM", {**SMALL, "num_key_value_heads": 1, "head_dim": 8}),
    "Phi": ("PhiForCausalLM", SMALL),
    "MPNet": ("MPNetModel", SMALL),
    "XLMRoberta": ("XLMRobertaForQuestionAnswering", SMALL),
    "DebertaV2": ("DebertaV2ForSequenceClassification", SMALL),
    "Deit": ("DeiTModel", {**SMALL, "image_size": 16, "patch_size": 8}),
    "GPTNeoX": ("GPTNeoXForCausalLM", SMALL),
    "Falcon": (
        "FalconForCausalLM",
        {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 40},
    ),
    "Wav2Vec2": (
        "Wav2Vec2ForCTC",
        {
            **SMALL,
            "conv_dim": [8, 8],
            "conv_stride": [5, 2],
            "conv_kernel": [10, 3],
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
        },
    ),
    "Mamba": ("MambaForCausalLM", {"hidden_size": 16, "num_hidden_layers": 1, "vocab_size": 40}),
    "ConvNext": ("ConvNextForImageClassification", {"hidden_sizes": [4, 8, 8, 8], "depths": [1, 1, 1, 1]}),
}


def model_of(name):
    head, config = KINDS[name]
    kind = getattr(tr, head)
    return kind(kind.config_class(**config))


def tokenizer(index, chat=False):
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    if index % 3 == 0:
        base = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    elif index % 3 == 1:
        base = Tokenizer(models.BPE(unk_token="[UNK]"))
        base.train_from_iterator(
            ["the quick brown fox " * 3],
            trainers.BpeTrainer(vocab_size=60, special_tokens=WORDS[:5], show_progress=False),
        )
    else:
        base = Tokenizer(models.Unigram([(w, -float(i)) for i, w in enumerate(WORDS)], unk_id=1))
    base.pre_tokenizer = pre_tokenizers.ByteLevel() if index % 3 == 1 else pre_tokenizers.Whitespace()
    made = tr.PreTrainedTokenizerFast(
        tokenizer_object=base,
        unk_token="[UNK]",
        pad_token="[PAD]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        model_max_length=128,
    )
    if chat:
        made.chat_template = CHAT[index % 3]
    return made


def arguments(index, path):
    kinds = [
        {},
        {"learning_rate": 3e-5, "num_train_epochs": 2, "fp16": False},
        {"lr_scheduler_type": "cosine", "warmup_steps": 10},
        {"gradient_accumulation_steps": 4, "optim": "adamw_torch", "save_strategy": "epoch"},
    ]
    torch.save(
        tr.TrainingArguments(
            str(Path(path).with_name("out")), report_to=[], use_cpu=True, **kinds[index % 4]
        ),
        path,
    )


def card(name):
    return f"---\nlicense: apache-2.0\nlibrary_name: transformers\ntags:\n- {name.lower()}\n---\n# tiny {name}\n\n```python\nfrom transformers import AutoModel\nmodel = AutoModel.from_pretrained('org/tiny')\n```\n"


def repositories():
    for index, name in enumerate(KINDS):

        def write(path, index=index, name=name):
            model = model_of(name)
            form = index % 4
            model.save_pretrained(path, max_shard_size="20KB" if form == 3 else "5GB")
            tokenizer(index, chat="CausalLM" in KINDS[name][0]).save_pretrained(path)
            text(card(name))(path / "README.md")
            text("*.bin filter=lfs diff=lfs merge=lfs -text\n")(path / ".gitattributes")
            if form == 1:
                torch.save(model.state_dict(), path / "pytorch_model.bin")
                for file in path.glob("*.safetensors"):
                    file.unlink()
            if form == 2:
                torch.save(dict(model.state_dict()), path / "pytorch_model.bin")
                arguments(index, path / "training_args.bin")

        put("other", f"hub: {name}", f"tiny-{name.lower()}", write)
    for index, name in enumerate(list(KINDS)[:12]):

        def trained(path, index=index, name=name):
            model = model_of(name)
            model.save_pretrained(path)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
            sum(p.sum() for p in model.parameters()).backward()
            optimizer.step()
            plan = tr.get_linear_schedule_with_warmup(optimizer, 2, 10)
            torch.save(optimizer.state_dict(), path / "optimizer.pt")
            torch.save(plan.state_dict(), path / "scheduler.pt")
            import random

            torch.save(
                {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.get_rng_state()},
                path / "rng_state.pth",
            )
            arguments(index, path / "training_args.bin")
            tr.TrainerState(
                epoch=1.0, global_step=10 * index, log_history=[{"loss": 0.4, "step": 5}]
            ).save_to_json(str(path / "trainer_state.json"))

        put("other", f"hub: trainer checkpoint of {name}", f"checkpoint-{index * 500 + 500}", trained)


def singles():
    for index, name in enumerate(list(KINDS)[:24]):
        model = model_of(name)
        if index % 2:
            put(
                "pickle",
                f"hub: pytorch_model.bin of {name}",
                "pytorch_model.bin",
                lambda path, model=model: torch.save(model.state_dict(), path),
            )
        elif index % 4 == 0:
            put(
                "other",
                f"hub: safetensors of {name}",
                "model.safetensors",
                lambda path, model=model: save_file(
                    {k: v.clone().contiguous() for k, v in model.state_dict().items()},
                    path,
                    metadata={"format": "pt"},
                ),
            )
        else:
            put(
                "pickle",
                f"hub: whole {name}",
                "model_full.pt",
                lambda path, model=model: torch.save(model, path),
            )
    for index in range(4):
        put(
            "pickle",
            f"hub: training arguments {index}",
            "training_args.bin",
            lambda path, index=index: arguments(index, path),
        )
    for index in range(6):
        put(
            "other",
            f"hub: tokenizer {index}",
            "tokenizer.json",
            lambda path, index=index: tokenizer(index).backend_tokenizer.save(str(path)),
        )
        put(
            "other",
            f"hub: tokenizer configuration {index}",
            "tokenizer_config.json",
            lambda path, index=index: (
                tokenizer(index, chat=True).save_pretrained(str(path.parent / "t")),
                shutil.copy(path.parent / "t" / "tokenizer_config.json", path),
                shutil.rmtree(path.parent / "t"),
            ),
        )
    for index, chat in enumerate(CHAT):
        put("other", f"hub: chat template {index}", "chat_template.jinja", text(chat))


def adapters():
    import peft

    for index, (name, config) in enumerate(
        {
            "lora": peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]),
            "lora on all": peft.LoraConfig(r=2, lora_alpha=8, target_modules="all-linear", lora_dropout=0.1),
            "ia3": peft.IA3Config(target_modules=["k_proj"], feedforward_modules=[]),
            "prompt": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
            "loha": peft.LoHaConfig(r=2, target_modules=["q_proj"]),
        }.items()
    ):

        def write(path, config=config, index=index):
            model = peft.get_peft_model(model_of(["Llama", "Mistral", "Qwen2"][index % 3]), config)
            model.save_pretrained(path)
            if index % 2:
                torch.save(peft.get_peft_model_state_dict(model), path / "adapter_model.bin")

        put("other", f"peft: {name}", f"adapter-{index}", write)


def sentences():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as parts

    for index in range(3):

        def write(path, index=index):
            source = path.parent / "source"
            model_of(["Bert", "MPNet", "DistilBert"][index]).save_pretrained(source)
            tokenizer(0).save_pretrained(source)
            body = parts.Transformer(str(source), max_seq_length=32)
            SentenceTransformer(modules=[body, parts.Pooling(16, ["mean", "cls", "max"][index])]).save(
                str(path)
            )
            shutil.rmtree(source)

        put("other", f"sentence-transformers: {index}", f"embedder-{index}", write)


def pieces():
    import sentencepiece

    for index, kind in enumerate(("unigram", "bpe", "char")):

        def write(path, kind=kind):
            source = path.with_suffix(".txt")
            source.write_text("the quick brown fox jumps over the lazy dog\nmodels are files too\n" * 40)
            sentencepiece.SentencePieceTrainer.train(
                input=str(source),
                model_prefix=str(path.with_suffix("")),
                vocab_size=45,
                model_type=kind,
                hard_vocab_limit=False,
                minloglevel=2,
            )
            source.unlink()

        put("other", f"sentencepiece: {kind}", ["spiece.model", "tokenizer.model", "sp.model"][index], write)


def tensors():
    values = {
        "float": {"w": torch.randn(3, 4)},
        "half": {"a.weight": torch.randn(8).half(), "a.bias": torch.zeros(1).half()},
        "integers": {"ids": torch.arange(6), "mask": torch.tensor([True, False])},
        "bfloat with metadata": {"m": torch.ones(2, 2, dtype=torch.bfloat16)},
    }
    for index, (name, value) in enumerate(values.items()):
        put(
            "other",
            f"safetensors: {name}",
            f"t{index}.safetensors",
            lambda path, value=value, index=index: save_file(
                value, path, metadata={"step": str(index)} if index % 2 else None
            ),
        )


def functions():
    import cloudpickle
    import dill

    bias = 3

    def predict(x, scale=2):
        return np.asarray(x) * scale + bias

    class Model:
        def __init__(self):
            self.w = np.arange(3.0)

        def predict(self, x):
            return x @ self.w

    values = {
        "function": predict,
        "class instance": Model(),
        "lambda": lambda x: x + 1,
        "partial": __import__("functools").partial(predict, scale=4),
        "network": MODELS["mlp"](),
        "dictionary": {"model": Model(), "names": ["a"]},
    }
    for index, (name, value) in enumerate(values.items()):
        put(
            "function",
            f"cloudpickle: {name}",
            f"cp{index}.pkl",
            lambda path, value=value: path.write_bytes(cloudpickle.dumps(value)),
        )
        if index % 2 == 0:
            put(
                "function",
                f"dill: {name}",
                f"model{index}.dill",
                lambda path, value=value: path.write_bytes(dill.dumps(value, recurse=True)),
            )
    import joblib

    put(
        "pickle",
        "joblib: dictionary with arrays",
        "features.joblib",
        lambda path: joblib.dump(
            {"x": np.ones((5, 3), order="F"), "memo": [1, 2]},
            path,
            compress=("lz4", 1) if "lz4" in __import__("sys").modules else 2,
        ),
    )
    put(
        "pickle",
        "dill: dictionary",
        "state.dill",
        lambda path: path.write_bytes(dill.dumps({"a": np.arange(4), "b": "x"})),
    )


def studies():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    import joblib

    for index, sampler in enumerate(
        (optuna.samplers.TPESampler(seed=1), optuna.samplers.RandomSampler(seed=2))
    ):
        study = optuna.create_study(sampler=sampler, direction=["minimize", "maximize"][index])
        study.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2 + t.suggest_int("k", 1, 3), n_trials=4)
        put(
            "pickle",
            f"optuna: study {index}",
            f"study{index}.pkl",
            lambda path, study=study: joblib.dump(study, path),
        )
        put(
            "pickle",
            f"optuna: sampler {index}",
            f"sampler{index}.pkl",
            lambda path, study=study: joblib.dump(study.sampler, path),
        )


def survival():
    import lifelines
    import pandas as pd
    from third_put import pickled

    frame = pd.DataFrame({"t": np.arange(1.0, 31), "e": [1, 0, 1] * 10, "a": np.sin(np.arange(30))})
    for name, model in {
        "kaplan": lifelines.KaplanMeierFitter(),
        "weibull": lifelines.WeibullFitter(),
        "nelson": lifelines.NelsonAalenFitter(),
    }.items():
        put("pickle", f"lifelines: {name}", f"{name}.pkl", pickled(model.fit(frame.t, frame.e)))
    put("pickle", "lifelines: cox", "cox.pkl", pickled(lifelines.CoxPHFitter().fit(frame, "t", "e")))


def reduced():
    import hdbscan
    import umap
    from third_put import jobbed

    X = np.random.default_rng(4).normal(size=(40, 5))
    put(
        "pickle",
        "umap: reducer",
        "umap.joblib",
        jobbed(umap.UMAP(n_neighbors=5, n_epochs=10, random_state=1).fit(X)),
    )
    put(
        "pickle",
        "hdbscan: clusterer",
        "hdbscan.pkl",
        jobbed(hdbscan.HDBSCAN(min_cluster_size=4, prediction_data=True).fit(X), 3),
    )


if __name__ == "__main__":
    run(repositories, singles, adapters, sentences, pieces, tensors, functions, studies, survival, reduced)
