"""Small captioners of transformers with random weights, published on disk, for the tests."""

from pathlib import Path
from typing import Any

import torch

from model.nets import torchvision_cpu
from tests.model.hub_cache import cache

TEXTS = [
    "a man riding a wave on a surfboard.",
    "a dog, a red ball and a skateboard.",
    "two people standing in the snow.",
]
WORDS = "a man riding wave on surf skate dog red ball and two people in the snow , ."
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def gpt2_tokenizer() -> Any:
    """Byte-level BPE, as GPT-2's: one special token, which begins and ends and is unknown too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def bert_tokenizer(folder: Path) -> Any:
    """WordPiece in lower case, as BERT's and BLIP's."""
    from transformers import BertTokenizer

    words = WORDS.split()
    pieces = ["##board", "##s", "##ing", "##man"]
    letters = [*"abcdefgimnorstw", *(f"##{c}" for c in "abdefgilmnoprstuw")]
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *pieces, *letters[1:]]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    return BertTokenizer(str(folder / "vocab.txt"))


def vit_gpt2(tokenizer: Any, **encoder: Any) -> Any:
    from transformers import (
        GPT2Config,
        SwinConfig,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
    )

    vision = ViTConfig(**VISION)
    if encoder:
        vision = SwinConfig(image_size=32, window_size=2, **encoder)
    end = tokenizer.eos_token_id
    text = GPT2Config(
        n_embd=24,
        n_layer=2,
        n_head=3,
        n_positions=64,
        vocab_size=len(tokenizer) + 3,  # embeddings are often padded
        bos_token_id=end,
        eos_token_id=end,
    )
    special = {"decoder_start_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text, **special)
    return _lively(VisionEncoderDecoderModel(config))


def blip(tokenizer: Any) -> Any:
    from transformers import BlipConfig, BlipForConditionalGeneration

    size = len(tokenizer)
    text = {
        "vocab_size": size + 2,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "max_position_embeddings": 24,
        "bos_token_id": size,  # [DEC], which BERT's vocabulary does not have
        "sep_token_id": tokenizer.sep_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = VISION | {"initializer_range": 0.05}
    return _lively(BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=vision)))


def _lively(model: Any) -> Any:
    """Larger weights than training begins with, so that photos and words differ."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter *= 3 if "wte" in name or "word_embeddings" in name else 6
    return model.eval()


def publish(kind: str, folder: Path, seed: int = 0, **encoder: Any) -> Any:
    """Keep a captioner in the hub's cache as org/KIND; the model itself."""
    torchvision_cpu.ensure_operators()
    from transformers import BlipImageProcessor, ViTImageProcessor

    torch.manual_seed(seed)
    place = folder / "org" / kind
    place.mkdir(parents=True, exist_ok=True)
    if kind == "blip":
        tokenizer = bert_tokenizer(folder)
        model = blip(tokenizer)
        processor = BlipImageProcessor(size={"height": 32, "width": 32})
    else:
        tokenizer = gpt2_tokenizer()
        model = vit_gpt2(tokenizer, **encoder)
        processor = ViTImageProcessor(size={"height": 32, "width": 32})
    for part in (model, tokenizer, processor):
        part.save_pretrained(place)
    cache(place)
    return model
