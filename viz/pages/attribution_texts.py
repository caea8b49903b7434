"""What the Attribution page says about each method: name, formula, text, source.

Keys are the names in ``model.attribution.registry.METHODS``. In a formula ``<name>`` stands
for a setting and is replaced by its value, so that a setting is seen where it acts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

ACCENT = "#5f7fdc"
"""Values of settings in a formula; readable on white and on black."""

ATTENTION, BOTH, GRADIENT, COMPARISON = (
    "Attention alone",
    "Attention and gradient",
    "Gradient alone",
    "For comparison",
)


SAME_FOR_EVERY_CLASS = ("attention", "rollout", "random_map")
"""Methods that ask nothing about the class. Words differ in their places, so in attention too."""


@dataclass(frozen=True)
class MethodText:
    """A method in words: ``formula`` is LaTeX, and ``source`` is (who and when, address)."""

    title: str
    group: str
    short: str
    formula: str
    text: str
    source: tuple[str, str] | None = None


VIT_EXPLAIN = MethodText(
    title="As vit-explain draws it",
    group=ATTENTION,
    short="",
    formula=r"\hat A_l=\tfrac12\big(\operatorname{keep}_{<kept>}(F_l)+I\big),\\ "
    r"\hat A_l[i,j]\leftarrow\hat A_l[i,j]\,\Big/\,\textstyle\sum_k\hat A_l[j,k]",
    text="The tool behind most published rollout pictures, with its faults: weak attention is "
    "discarded over the whole matrix, so a row may lose everything; column *j* is divided by "
    "the sum of row *j*, where rows were meant; and with gradients, layer *l* meets the "
    "gradient of layer *L* + 1 − *l*, taken before the softmax. For comparison with old figures.",
    source=("Gildenblat, 2020: vit-explain", "https://github.com/jacobgil/vit-explain"),
)

METHODS: dict[str, MethodText] = {
    "attention": MethodText(
        title="Attention",
        group=ATTENTION,
        short="Where the answer's token looks in one layer",
        formula=r"r_j=A_{<layer>}^{<head>}[\mathrm{cls},j]",
        text="One row of one layer's attention map: from the token from which the class is read. "
        "It says where this layer takes something, and leaves the other layers out. It is the same "
        "map for every class.",
        source=("Vaswani et al., 2017", "https://arxiv.org/abs/1706.03762"),
    ),
    "rollout": MethodText(
        title="Rollout",
        group=ATTENTION,
        short="Attention multiplied down through the layers",
        formula=r"R=\hat A_{<last>}\cdots\hat A_{<first>},\\ "
        r"\hat A_l=\operatorname{rows}\big(<skip>\,I+<rest>\,\operatorname{<fusion>}_h "
        r"A_l^{(h)}\big)<discarded>",
        text="Tokens mix in every layer, so by the last one a token is no longer one patch. "
        "Rollout follows the mixing back to the photo: it multiplies the layers' maps, each "
        "with a share *I* for the residual connection that carries a token past the attention. It "
        "is the same map for every class, too.",
        source=("Abnar and Zuidema, 2020", "https://arxiv.org/abs/2005.00928"),
    ),
    "gradient_rollout": MethodText(
        title="Gradient rollout",
        group=BOTH,
        short="Rollout of the attention that raises the score",
        formula=r"R=\hat A_L\cdots\hat A_{<first>},\\ \hat A_l=\operatorname{rows}\Big("
        r"<skip>\,I+<rest>\,\big[\operatorname{mean}_h A_l\odot"
        r"\tfrac{\partial y}{\partial A_l}\big]^+\Big)",
        text="The gradient ∂*y*/∂*A* says how the score *y* of the class would change if a token "
        "attended a little more. Attention is multiplied by it, what lowers the score is set to "
        "zero, and rollout goes on with the rest. So this map depends on the class, as do all that "
        "follow.",
        source=("Gildenblat, 2020", "https://jacobgil.github.io/deeplearning/vision-transformer-explainability"),
    ),
    "chefer": MethodText(
        title="Generic relevance",
        group=BOTH,
        short="Chefer's rule: relevance that grows layer by layer",
        formula=r"R=(I+C_L)\cdots(I+C_{<first>})-I,\\ C_l=\operatorname{mean}_h\big[A_l^{(h)}"
        r"\odot\tfrac{\partial y}{\partial A_l^{(h)}}\big]^+",
        text="At first each token is relevant to itself alone. Each layer adds what its heads "
        "bring in for the class. Nothing is rescaled, so a layer that brings in much counts for "
        "much. The map shows what the patches have gained, without what they began with.",
        source=("Chefer, Gur and Wolf, 2021 (ICCV)", "https://arxiv.org/abs/2103.15679"),
    ),
    "attention_gradcam": MethodText(
        title="Attention Grad-CAM",
        group=BOTH,
        short="The heads of one layer, weighted by what they do for the class",
        formula=r"r=\Big[\operatorname{mean}_h\,w_h\,A_{<layer>}^{(h)}[\mathrm{cls}]\Big]^+,\\ "
        r"w_h=\operatorname{mean}_j\tfrac{\partial y}{\partial A_{<layer>}^{(h)}[\mathrm{cls},j]}",
        text="Grad-CAM weighs the channels of a convolutional network by their mean gradient. "
        "Here the heads of one layer are the channels: the more the score would rise if a head "
        "attended more to the patches, the more that head counts.",
        source=("Chefer, Gur and Wolf, 2021 (CVPR)", "https://arxiv.org/abs/2012.09838"),
    ),
    "legrad": MethodText(
        title="LeGrad",
        group=BOTH,
        short="How sensitive each layer's own answer is to its attention",
        formula=r"r=\operatorname{mean}_{l\ge <first>}\ \operatorname{mean}_{h,i}\Big["
        r"\tfrac{\partial s_l}{\partial A_l^{(h)}[i]}\Big]^+",
        text="The classifier is put on each layer in turn: *s* is the class's score if layer *l* "
        "were the last. The gradient of this score by the layer's attention is averaged over "
        "heads, queries and layers; the attention itself does not enter. A model with CLS is read "
        "from CLS alone here, where the authors' CLIP takes the mean of all tokens.",
        source=("Bousselham et al., 2024", "https://arxiv.org/abs/2404.03214"),
    ),
    "token_gradcam": MethodText(
        title="Grad-CAM on tokens",
        group=GRADIENT,
        short="Grad-CAM with the last layer's tokens as its feature maps",
        formula=r"r_n=\Big[\sum_d w_d\,F_{nd}\Big]^+,\\ "
        r"w_d=\operatorname{mean}_n\tfrac{\partial y}{\partial F_{nd}}",
        text="*F* is what goes into the last attention layer. Each of its numbers, laid out on "
        "the grid of patches, is a feature map, as in a convolutional network. Each feature map "
        "is weighted by its mean gradient, and all are added.",
        source=("Selvaraju et al., 2017", "https://arxiv.org/abs/1610.02391"),
    ),
    "input_gradient": MethodText(
        title="Input gradient",
        group=GRADIENT,
        short="How much the score changes with each pixel",
        formula=r"r=\operatorname{mean}_{\text{pixels}}\ \max_{\text{colours}}\Big|"
        r"\tfrac{\partial y}{\partial x}\Big|",
        text="The oldest map: where would a small change of a pixel change the score most? It "
        "needs no attention and works for any network. It shows where the network is sensitive, "
        "which need not be where the evidence lies, and it is noisy.",
        source=("Simonyan, Vedaldi and Zisserman, 2014", "https://arxiv.org/abs/1312.6034"),
    ),
    "integrated_gradients": MethodText(
        title="Integrated gradients",
        group=GRADIENT,
        short="The gradient along the way from an empty picture to this one",
        formula=r"r=\Big[\sum_{\text{patch}}(x-x_0)\int_0^1\tfrac{\partial y}{\partial x}"
        r"\big(x_0+t\,(x-x_0)\big)\,dt\Big]^+,\\ x_0:\ <baseline>,\ <steps>\text{ points}",
        text="Gradients are collected on the way from an empty picture *x*₀ to the photo. Together "
        "they add up to the rise of the score, so each patch has its exact share of it; shares "
        "below zero are not drawn. What the shares are depends on what counts as empty.",
        source=("Sundararajan, Taly and Yan, 2017", "https://arxiv.org/abs/1703.01365"),
    ),
    "random_map": MethodText(
        title="Random",
        group=COMPARISON,
        short="Random numbers, to compare with",
        formula=r"r_j\sim\mathrm{uniform}(0,1),\qquad \text{seed }<seed>",
        text="This map knows neither the photo nor the model. A method that a measure does not "
        "put clearly above it has shown nothing by that measure.",
    ),
}  # fmt: skip


WORD_METHODS: dict[str, MethodText] = METHODS | {
    "attention": MethodText(
        title="Cross-attention",
        group=ATTENTION,
        short="What the decoder attends to when it chooses the word",
        formula=r"r_j=A_{<layer>}^{<head>}[\mathrm{word},j]",
        text="One row of one decoder layer's cross-attention: from the place where the word is "
        "chosen. It says from which tokens of the memory this layer takes something. The encoder "
        "has mixed the patches before; and what comes from the words is left out.",
        source=("Xu et al., 2015", "https://arxiv.org/abs/1502.03044"),
    ),
    "rollout": replace(
        METHODS["rollout"],
        short="Cross-attention followed down through the encoder",
        formula=r"r=\hat d\,\hat A_{<last>}\cdots\hat A_{<first>},\\ "
        r"\hat A_l=\operatorname{rows}\big(<skip>\,I+<rest>\,\operatorname{<fusion>}_h "
        r"A_l^{(h)}\big)<discarded>",
        text="The encoder mixes the patches, so a token of the memory is no longer one patch. "
        "Rollout follows the mixing back to the photo. It begins with *d*, what the word takes "
        "from the memory by the same rule in the decoder's own layers, and multiplies the "
        "encoder's maps below it. It knows the place of the word in the caption, and not which "
        "word was chosen there.",
    ),
    "gradient_rollout": replace(
        METHODS["gradient_rollout"],
        short="Rollout of the attention that raises the word's score",
        formula=r"r=\hat d\,\hat A_L\cdots\hat A_{<first>},\\ \hat A_l=\operatorname{rows}\Big("
        r"<skip>\,I+<rest>\,\big[\operatorname{mean}_h A_l\odot"
        r"\tfrac{\partial y}{\partial A_l}\big]^+\Big)",
        text="The gradient ∂*y*/∂*A* says how the score *y* of the word would change if a token "
        "attended a little more. Attention is multiplied by it, what lowers the score is set to "
        "zero, and rollout goes on with the rest, in the encoder and in the decoder. So this map "
        "depends on the word, as do all that follow.",
    ),
    "chefer": replace(
        METHODS["chefer"],
        short="Chefer's rule for two kinds of tokens, words and patches",
        formula=r"R_{qi}\mathrel{+}=N(R_{qq})^{\!\top}\,C\,N(R_{ii}),\\ "
        r"R_{ii}=(I+C_L)\cdots(I+C_{<first>}),\quad C=\operatorname{mean}_h\big[A^{(h)}"
        r"\odot\tfrac{\partial y}{\partial A^{(h)}}\big]^+",
        text="Three tables say what is relevant to what: patches to patches *ii*, words to words "
        "*qq*, patches to words *qi*. Self-attention adds to the first two; each cross-attention "
        "hands on what the patches and the words have gained so far (*N* leaves out what they "
        "began with). The map is the word's row of the third.",
    ),
    "attention_gradcam": replace(
        METHODS["attention_gradcam"],
        short="The heads of one cross-attention, weighted by what they do for the word",
        formula=METHODS["attention_gradcam"].formula.replace("cls", "word"),
        text="Grad-CAM weighs the channels of a convolutional network by their mean gradient. "
        "Here the heads of one layer's cross-attention are the channels: a head counts the more, "
        "the more the score would rise if it attended more to all patches alike. A word needs one "
        "place and not all of them, so this mean is often below zero, and the map empty.",
    ),
    "legrad": replace(
        METHODS["legrad"],
        text="The decoder is put on each layer of the encoder in turn: *s* is the word's score if "
        "layer *l*'s tokens were its memory. The gradient of this score by the layer's attention "
        "is averaged over heads, queries and layers; the attention itself does not enter.",
    ),
    "token_gradcam": replace(
        METHODS["token_gradcam"],
        title="Grad-CAM on memory",
        short="Grad-CAM with the memory's tokens as its feature maps",
        text="*F* is the memory, which the encoder hands to the decoder. Each of its numbers, laid "
        "out on the grid of patches, is a feature map, as in a convolutional network. Each feature "
        "map is weighted by its mean gradient, and all are added.",
    ),
}
"""The same methods for the score of a captioner's word."""


def written_out(formula: str, settings: Mapping[str, str]) -> str:
    """Write the values of settings in place of each ``<setting>`` of a formula, in colour.

    A double backslash in it begins a new line.
    """

    def value(match: re.Match[str]) -> str:
        text = settings[match[1]]
        return rf"\textcolor{{{ACCENT}}}{{{text}}}" if text else ""

    lines = re.sub(r"<(\w+)>", value, formula)
    return rf"\begin{{gathered}}{lines}\end{{gathered}}"


CAN_TELL = """
**What such a map can tell.** Which patches the model's answer is sensitive to, by one definition
of sensitive; whether two classes of one photo rest on different places; whether the model looks
at the object or at what usually surrounds it. It is a place to begin asking.

**What it cannot tell.** *Why* the model answers as it does, which feature of a patch it used, or
what it would do on another photo. Attention shows where values are mixed from, not what the
answer rests on: different attention can lead to the same answer
([Jain and Wallace, 2019](https://arxiv.org/abs/1902.10186)), though that alone does not make it
meaningless ([Wiegreffe and Pinter, 2019](https://arxiv.org/abs/1908.04626)). Maps may look right
and be wrong: some barely change when the model's weights are made random, so they show the
picture's edges and not the model ([Adebayo et al., 2018](https://arxiv.org/abs/1810.03292)).
Switch on the comparison with random weights above and see which ones do.

**The scores have limits too.** Deletion and insertion show the model pictures with holes, unlike
any it has learned from, so part of each drop is surprise and not loss of evidence
([Hooker et al., 2019](https://arxiv.org/abs/1806.10758)); the blurred and the zeroed background
can rank the methods differently. One photo proves nothing: look at the averages over many
(`python -m model.evaluate attribution`).
"""
