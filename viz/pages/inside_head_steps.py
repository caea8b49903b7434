"""The steps of a block and its diagram: what each is called, what it does and why it is there."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from model.intervention.layer_numbers import LayerNumbers
from model.tokens import TokenLayout
from viz.pictures.lettering import percent


@dataclass(frozen=True)
class Explained:
    """A step: its title, its formula, and in two or three sentences why it is there."""

    id: str
    title: str
    formula: str
    text: str


@dataclass(frozen=True)
class Part:
    """A part of the diagram, and the step that a click on it opens."""

    step: str
    name: str
    note: str = ""
    round: bool = False


@dataclass(frozen=True)
class DescribedBlock:
    """A model's block: the steps in its own order, the parts that are drawn, and the skips."""

    steps: list[Explained]
    parts: list[Part]
    skips: list[tuple[int, int]]
    """Residual connections, from part to part."""

    def as_header(self) -> dict[str, object]:
        """Return the block as a payload's header carries it."""
        return {
            "steps": [asdict(step) for step in self.steps],
            "parts": [asdict(part) for part in self.parts],
            "skips": self.skips,
        }


def divisor_of(scale: float) -> str:
    """Write what the scores are divided by: a root where the scale is one."""
    square = 1 / scale**2
    if abs(square - round(square)) < 1e-3 * square:
        return f"√{round(square)}" if round(square) > 1 else "1"
    return f"{1 / scale:.4g}"


def describe_block(numbers: LayerNumbers, tokens: TokenLayout | None) -> DescribedBlock:
    """Describe the block of a layer whose numbers were found.

    Args:
        numbers: the layer's numbers; steps of what is missing are left out.
        tokens: the photo's tokens; None where the words of a caption ask.
    """
    writer = _Writer(numbers, tokens)
    attention = list(writer.attention())
    after = list(writer.after())
    steps = [step for step, _ in (*attention, *after) if step is not None]
    parts = [part for _, parts in (*attention, *after) for part in parts]
    return DescribedBlock(steps, parts, _skips(parts))


AFTER = ("norm_after", "other")
"""Steps whose norm stands after a residual connection."""


def _skips(parts: list[Part]) -> list[tuple[int, int]]:
    """Find the residual connections: from where a sublayer begins to the plus that ends it."""
    skips, start = [], 0
    for place, part in enumerate(parts):
        if part.round:
            skips.append((start, place))
            follows = parts[place + 1 : place + 2]
            is_norm = any(part.step in AFTER and part.name.endswith("norm") for part in follows)
            start = place + is_norm
    return skips


Described = tuple[Explained | None, list[Part]]


class _Writer:
    """Writes the steps of one layer."""

    def __init__(self, numbers: LayerNumbers, tokens: TokenLayout | None) -> None:
        self.numbers, self.tokens = numbers, tokens
        self.cross = numbers.record.kind == "cross"
        output = numbers.output
        self.dim = 0 if numbers.entering is None else numbers.entering.shape[-1]
        self.dim = self.dim or (0 if output is None else output.weight.shape[0])
        self.width = 0 if numbers.query is None else numbers.query.shape[-1]
        self.value_width = 0 if numbers.value is None else numbers.value.shape[-1]

    def attention(self) -> Iterator[Described]:
        """Write the steps up to the output projection."""
        numbers = self.numbers
        if numbers.entering is not None:
            yield self._token()
        if numbers.norm_before is not None:
            yield self._norm_before()
        if numbers.query is not None:
            yield self._projections()
            yield self._products()
            yield self._scale()
            if numbers.bias is not None:
                yield self._mask()
        yield self._softmax()
        if numbers.value is not None:
            yield self._values()
        if numbers.value is not None or numbers.between:
            yield self._heads()
        if numbers.output is not None and numbers.value is not None:
            yield self._output()

    def after(self) -> Iterator[Described]:
        """Write the steps from the residual connection on."""
        numbers = self.numbers
        if numbers.residual is None or numbers.entering is None:
            return
        yield self._residual()
        if numbers.norm_after is not None:
            yield self._norm_after()
        for _ in numbers.between_sublayers:
            yield self._other()
        if numbers.mlp is not None:
            yield self._mlp()
            yield self._leaving()

    # -- up to the map --------------------------------------------------------------------------

    def _token(self) -> Described:
        if self.tokens is None:
            text = (
                f"A decoder works on tokens: a vector of {self.dim} numbers for each word, with "
                "the word's position code added before the first layer. This is the query's vector "
                "as it enters this sublayer, with the results of the steps before. From it the "
                "decoder will choose the next word."
            )
            return Explained("token", "The word's vector", f"x: {self.dim} numbers", text), [
                Part("token", "Token", "word + position")
            ]
        named = _list_prefix(self.tokens)
        beside = f", besides {named}" if named else ""
        text = (
            f"Attention works on tokens: a vector of {self.dim} numbers for each of the "
            f"{self.tokens.patches} patches{beside}. This is the query's vector as it enters the "
            "block, with all that earlier layers have added. A position code was added before the "
            "first layer: attention by itself cannot tell where a patch lies."
        )
        note = f"{_short_prefix(self.tokens)}{self.tokens.patches} patches"
        return Explained("token", "The token's vector", f"x: {self.dim} numbers", text), [
            Part("token", "Token", note)
        ]

    def _norm_before(self) -> Described:
        norm = self.numbers.norm_before
        assert norm is not None
        text = (
            "Vectors grow from layer to layer, because every block adds to them. The norm brings "
            "each one to the same size before queries and keys are made of it, so no score is "
            "large only because its token is. In this model it stands before the attention "
            "(pre-norm), and the residual connection goes around it."
        )
        return Explained("norm", norm.kind, _norm_formula(norm.kind), text), [
            Part("norm", norm.kind.removesuffix("Norm") + " norm")
        ]

    def _projections(self) -> Described:
        numbers = self.numbers
        asked = "the photo's memory" if self.cross else "the token that is asked"
        text = (
            f"Learned matrices make short vectors of {self.width} numbers{self._share_of_width()}. "
            f"The query says what the token looks for. Key and value come from {asked}: the key "
            "says what can be found there, and the value is what it hands over."
        )
        if numbers.changed == "turned":
            text += (
                " Then this model changes queries and keys by their place, such as by turning "
                "them (RoPE), so that their product depends on the distance."
            )
        elif numbers.changed == "normalised":
            text += " Then this model normalises queries and keys."
        if numbers.asking is None:
            text += " Which matrices these are could not be found in this model."
        return Explained(
            "qkv",
            "Query, key and value",
            "q = W_q x + b_q     k = W_k x + b_k     v = W_v x + b_v",
            text,
        ), [Part("qkv", "Q  K  V", f"{self.width} each")]

    def _share_of_width(self) -> str:
        """Say how a token's width is divided among the heads, where it is."""
        heads = self.numbers.heads
        if not self.dim or self.dim != heads * self.width or heads == 1:
            return ""
        return f", the width {self.dim} ÷ {heads} heads"

    def _products(self) -> Described:
        text = (
            f"Each of the {self.width} numbers of the query is multiplied with the key's number at "
            "the same place, and the products are summed. A product of two numbers with the same "
            "sign raises the sum, and one with different signs lowers it. One number is left: how "
            "well this key fits this query."
        )
        formula = f"q · k = q_1 k_1 + q_2 k_2 + … + q_{self.width} k_{self.width}"
        return Explained("products", "Query times key", formula, text), [Part("products", "q · k")]

    def _scale(self) -> Described:
        numbers, divisor = self.numbers, divisor_of(self.numbers.scale)
        heads = numbers.heads
        text = (
            f"A sum of {self.width} products spreads about √{self.width} = "
            f"{math.sqrt(self.width):.3g} times as widely as one product. Dividing by the root "
            "takes this back, so scores spread alike however wide a head is; a head four times as "
            "wide needs twice the divisor. Undivided, scores lie further apart, so the softmax "
            "gives far more to the largest one; where one key has nearly all, hardly any gradient "
            "comes through. "
        )
        if divisor == "1":
            text += "This model does not divide here."
        elif divisor == f"√{self.width}":
            text += (
                f"This model's own d is {self.width}, the width of one head, whatever width the "
                "random vectors beside it have. Where d stands for the full width, as in the "
                f"CS231n assignment, the same number is √(d/h) = √({self.width * heads}/{heads})."
            )
        elif divisor == f"√{self.dim}":
            text += (
                f"This model divides by √{self.dim}, the root of its full width, though a head "
                f"has {self.width}: its maps are flatter."
            )
        else:
            text += f"This model divides by {divisor}."
        return Explained("scale", "Divided by √d", f"score = q · k / {divisor}", text), [
            Part("scale", f"÷ {divisor}")
        ]

    def _mask(self) -> Described:
        if self.is_causal:
            text = (
                "A caption is written from left to right, so a word may look at itself and at the "
                f"words before it: the first of these {self.numbers.record.shape[-1]} tokens has "
                "one weight above 0, the third has three. "
                "Minus infinity is added to the score of every later word, and the softmax turns "
                "that into a weight of exactly 0. So the model can learn from all words of a "
                "sentence at once and never sees the word that it has to guess."
            )
            return Explained("mask", "The mask", "score + 0, or score + (−∞)", text), [
                Part("mask", "mask", "+ (−∞)")
            ]
        text = (
            "This model adds a number to each score. It depends on where the two tokens lie, or on "
            "whether one may see the other at all. So the model can tell near patches from far "
            "ones without a position code in the vectors."
        )
        return Explained("mask", "The position bias", "score + bias", text), [
            Part("mask", "+ bias")
        ]

    @property
    def is_causal(self) -> bool:
        """Whether words ask words, and the later ones are masked."""
        bias = self.numbers.bias
        words = self.tokens is None and not self.cross
        return words and bias is not None and bool(bias[..., 0, 1:].isneginf().all())

    def _softmax(self) -> Described:
        numbers = self.numbers
        where = "over the photo" if self.tokens is not None or self.cross else "over the words"
        text = (
            "Scores may be negative, and shares may not. So the softmax raises e to each score and "
            "divides by the sum of all results: the weights are positive and sum to one, and a "
            "score that is 1 higher gets 2.7 times the weight. The largest gets most, and the "
            "others keep a little, so training can still change every score. These weights are the "
            f"query's row of the attention map, drawn here {where}."
        )
        if numbers.record.shape[-1] == 1:
            text += (
                " Here there is only one key, so its weight is 100 % whatever its score: a memory "
                "of one vector leaves nothing to choose, and no map to look at."
            )
        formula = "a_ij = exp(score_ij) / Σ_j exp(score_ij)"
        return Explained("softmax", "The softmax", formula, text), [
            Part("softmax", "softmax", _dropped(numbers.attention_dropout))
        ]

    # -- from the map to the block's output -----------------------------------------------------

    def _values(self) -> Described:
        text = (
            "Each key's value is multiplied with the key's weight, and all are summed. The map "
            "shows where information comes from; the values are the information. A patch with a "
            "large weight and a short value hands over little."
        )
        return Explained("values", "Weighted values", "h_i = Σ_j a_ij v_j", text), [
            Part("values", "× V")
        ]

    def _heads(self) -> Described:
        numbers = self.numbers
        text = (
            f"{numbers.heads} heads do this side by side, each with queries, keys and values of "
            "its own, so each has its own map. One token can look at several places for several "
            "reasons at once; one merged map would average them. Their outputs are laid end to "
            f"end, heads × head size: {numbers.heads} × {self.value_width} = "
            f"{numbers.heads * self.value_width} numbers. At the same width, twice as many heads "
            "would each be half as wide: more maps, and as many weights to learn as before."
        )
        if numbers.between:
            text += f" In this model {numbers.between} changes them before the next step."
        if numbers.gain != 1:
            text += f" This model then multiplies them by {numbers.gain:.4g}."
        return Explained("heads", "The heads side by side", "[h_1 … h_H]", text), [
            Part("heads", "heads", f"{numbers.heads} × {self.value_width}")
        ]

    def _output(self) -> Described:
        numbers = self.numbers
        text = (
            "One more learned matrix mixes what the heads have found. With it, each head can "
            f"change any of the token's {self.dim} numbers; without it, a head could change only "
            f"its own {self.value_width}. Each head has its own {self.value_width} columns of the "
            "matrix, so the output is a sum with one vector from each head."
        )
        parts = [Part("output", "W_O", _dropped(numbers.output_dropout))]
        if numbers.layer_scale is not None:
            parts.append(Part("residual", "× γ", "LayerScale"))
        if numbers.branch_norm:
            parts.append(Part("residual", "norm"))
        return Explained("output", "The output projection", "W_O [h_1 … h_H] + b", text), parts

    def _residual(self) -> Described:
        numbers = self.numbers
        text = (
            "The attention's result is added to the token and does not replace it. So a block only "
            "has to learn what to change, and in training the gradient reaches the first layers "
            "undiminished."
        )
        if numbers.layer_scale is not None:
            text += " Before that, this model multiplies each number with a learned γ."
        if numbers.branch_norm:
            text += " Before that, this model normalises the attention's result."
        return Explained("residual", "The residual connection", "x + attention", text), [
            Part("residual", "+", round=True)
        ]

    def _norm_after(self) -> Described:
        norm = self.numbers.norm_after
        assert norm is not None
        text = (
            "The norm brings each vector to mean 0 and spread 1, then multiplies each number with "
            "a learned weight. In this model it stands after the residual connection (post-norm), "
            "as in the first transformer. Nothing passes it by, so deep models of this kind are "
            "harder to train."
        )
        return Explained("norm_after", norm.kind, _norm_formula(norm.kind), text), [
            Part("norm_after", norm.kind.removesuffix("Norm") + " norm")
        ]

    def _other(self) -> Described:
        text = (
            "Here the words look at the photo: attention once more, with queries from the words "
            "and keys and values from the patches. Choose it under Layer to go inside it."
        )
        norm = [Part("other", "Layer norm")] if self.numbers.norm_after is not None else []
        return Explained("other", "Words look at the photo", "cross-attention", text), [
            Part("other", "cross-", "attention"),
            Part("other", "+", round=True),
            *norm,
        ]

    def _mlp(self) -> Described:
        mlp = self.numbers.mlp
        assert mlp is not None
        activation = mlp.activation or "an activation"
        hidden = mlp.hidden.shape[-1]
        text = (
            "Attention moves information between tokens; the MLP works on each token by itself. "
            f"It widens the vector to {hidden} numbers and sends them through {activation}, which "
            f"lets some pass and stops others. Then it brings them back to {self.dim} numbers."
        )
        parts = [Part("mlp", "Layer norm")] if mlp.norm is not None else []
        formula = f"W_2 {activation}(W_1 x + b_1) + b_2"
        return Explained("mlp", "The MLP", formula, text), [
            *parts,
            Part("mlp", "MLP", _dropped(mlp.dropout) or f"{self.dim} → {hidden} → {self.dim}"),
            Part("leaving", "+", round=True),
        ]

    def _leaving(self) -> Described:
        mlp = self.numbers.mlp
        assert mlp is not None
        text = (
            "A second residual connection adds the MLP's result as well. This is the query's "
            "vector as the next block gets it. Added up from these steps, it must equal the vector "
            "that the model itself computed."
        )
        parts = [Part("leaving", "Layer norm")] if mlp.norm_after is not None else []
        return Explained("leaving", "Out of the block", "x + attention + MLP", text), [
            *parts,
            Part("leaving", "out"),
        ]


def _norm_formula(kind: str) -> str:
    if kind == "RMSNorm":
        return "x / √(mean of x² + ε) · weight"
    return "(x − mean) / √(variance + ε) · weight + bias"


def _dropped(probability: float) -> str:
    return f"dropout {percent(probability, 0)}" if probability else ""


def _list_prefix(tokens: TokenLayout) -> str:
    """Name the tokens that are no patch, for a sentence."""
    registers = sum(name.startswith("reg") for name in tokens.prefix)
    named = [name.upper() for name in tokens.prefix if not name.startswith("reg")]
    if registers:
        named.append(f"{registers} registers" if registers > 1 else "a register")
    return " and ".join(named)


def _short_prefix(tokens: TokenLayout) -> str:
    named = _list_prefix(tokens).replace(" and ", ", ")
    return f"{named}, " if named else ""
