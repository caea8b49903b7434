import itertools

import pytest
import torch

from model.captioning.decoding import beam_search, greedy, sample
from model.datasets.vocabulary import END, PAD, START, UNKNOWN
from tests.model.captioners import captioner, images

BOTH = pytest.mark.parametrize("decoder", ["transformer", "recurrent"])


def total(net, memory, beam) -> float:
    """Teacher-forced log-probability of a beam's words, and of its end if it came to it."""
    words = torch.tensor([[START, *beam.words]])
    with torch.inference_mode():
        logprobs = net.teacher_force(memory, words)[0].log_softmax(-1)
    wanted = [*beam.words, *([END] if beam.finished else [])]
    return sum(float(logprobs[i, word]) for i, word in enumerate(wanted))


def by_hand(net, memory, limit) -> tuple[int, ...]:
    """Greedy decoding without any cache."""
    words = [START]
    while len(words) <= limit:
        logits = net.teacher_force(memory, torch.tensor([words]))[0, -1]
        logits[[PAD, START, UNKNOWN]] = -torch.inf
        words.append(int(logits.argmax()))
        if words[-1] == END:
            return tuple(words[1:-1])
    return tuple(words[1:])


@BOTH
def test_one_beam_is_greedy(decoder):
    with torch.inference_mode():
        for seed in range(12):
            net = captioner(seed, decoder=decoder)
            memory = net.encode_image(images(3, seed))
            expected = [by_hand(net, m[None], 10) for m in memory]
            assert [beam_search(net, m[None], 1, 10)[0].words for m in memory] == expected
            assert greedy(net, memory, 10) == expected


@BOTH
def test_scores_are_teacher_forced_log_probabilities(decoder):
    ended = 0
    for seed in range(12):
        net = captioner(seed, decoder=decoder)
        with torch.inference_mode():
            memory = net.encode_image(images(1, seed))
        found = beam_search(net, memory, 4, 8)
        assert 1 <= len(found) <= 4 and len({beam.words for beam in found}) == len(found)
        assert [b.score for b in found] == sorted((b.score for b in found), reverse=True)
        for beam in found:
            assert abs(beam.logprob - total(net, memory, beam)) < 1e-4
            ended += beam.finished
    assert ended  # otherwise ends were not tested


def test_enough_beams_find_the_very_best():
    """Two words at most: every caption can be tried."""
    for seed in range(6):
        net = captioner(seed, sure=1.0)
        with torch.inference_mode():
            memory = net.encode_image(images(1, seed))
        words = [END, *range(UNKNOWN + 1, len(net.config.vocabulary))]
        best = beam_search(net, memory, 64, 2)[0]
        with torch.inference_mode():
            scores = {}
            for pair in itertools.product(words, repeat=2):
                ended = pair[: pair.index(END)] if END in pair else pair
                logprobs = net.teacher_force(memory, torch.tensor([[START, *ended]]))[
                    0
                ].log_softmax(-1)
                scores[ended] = sum(float(logprobs[i, w]) for i, w in enumerate((*ended, END)))
        best_of_all = max(scores, key=lambda ended: scores[ended] / (len(ended) + 1) ** 0.7)
        assert best.finished and best.words == best_of_all


@BOTH
def test_given_words_stay(decoder):
    net = captioner(decoder=decoder)
    with torch.inference_mode():
        memory = net.encode_image(images())
    for beam in beam_search(net, memory, 3, 9, given=(6, UNKNOWN, 4)):
        assert beam.words[:3] == (6, UNKNOWN, 4)
        assert not {PAD, START, UNKNOWN} & set(beam.words[3:])
        assert abs(beam.logprob - total(net, memory, beam)) < 1e-4
    full = beam_search(net, memory, 2, 3, given=(6, 5, 4))
    assert all(beam.words == (6, 5, 4) for beam in full)


def test_drawing_by_chance_follows_the_probabilities():
    net = captioner(sure=1.0)
    with torch.inference_mode():
        memory = net.encode_image(images())
        logits = net.teacher_force(memory, torch.tensor([[START]]))[0, 0]
        logits[[PAD, START, UNKNOWN]] = -torch.inf
        expected = (logits / 1.5).softmax(-1)
    torch.manual_seed(0)
    counts = torch.zeros(len(expected))
    for _ in range(600):
        beam = sample(net, memory, 1.5, 1)
        counts[beam.words[0] if beam.words else END] += 1
    assert (counts / 600 - expected).abs().max() < 0.08
    torch.manual_seed(3)
    long = sample(net, memory, 1.0, 9)
    assert abs(long.logprob - total(net, memory, long)) < 1e-4


def test_next_to_no_temperature_is_greedy():
    net = captioner()
    with torch.inference_mode():
        memory = net.encode_image(images())
    assert sample(net, memory, 1e-4, 9).words == beam_search(net, memory, 1, 9)[0].words


def test_no_beams_are_a_sentence():
    net = captioner()
    with pytest.raises(ValueError, match="one beam or more, not 0"):
        beam_search(net, net.encode_image(images()), 0, 5)
