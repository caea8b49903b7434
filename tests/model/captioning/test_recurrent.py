import torch

from model.datasets.vocabulary import START
from tests.model.captioners import captioner, images

SENTENCE = torch.tensor([[START, 4, 5, 7, 9, 4]])


def test_step_by_step_equals_all_at_once():
    net, words = captioner(decoder="recurrent"), SENTENCE.repeat(2, 1)
    with torch.inference_mode():
        memory = net.encode_image(images(2))
        full = net.teacher_force(memory, words)
        state, steps = net.begin(memory), []
        for word in words.split(1, dim=1):
            logits, state = net.advance(word, state)
            steps.append(logits)
        assert torch.allclose(torch.cat(steps, 1), full, atol=1e-5)
        swapped = state.select(torch.tensor([1, 0]))
        expected = net.advance(words[:, :1], state)[0]
        assert torch.allclose(net.advance(words[:, :1], swapped)[0], expected.flip(0), atol=1e-5)


def test_the_map_is_the_papers_formula():
    net = captioner(decoder="recurrent")
    with torch.inference_mode():
        memory = net.encode_image(images())
        output = net.decoder_output(memory, SENTENCE)
        maps = output.cross[0]
        assert output.self_ == [] and maps.shape == (1, 1, 6, 16)
        assert torch.allclose(maps.sum(-1), torch.ones(1, 1, 6), atol=1e-5)

        start = net.embed(SENTENCE[:, 0])
        hidden = net.cell(torch.cat((start, torch.zeros_like(start)), 1), torch.zeros(1, 24))
        part = net.attention
        scores = [
            part.score.weight[0] @ torch.tanh(part.query(hidden[0]) + part.key.weight @ patch)
            for patch in memory[0]
        ]
        assert torch.allclose(maps[0, 0, 0], torch.stack(scores).softmax(0), atol=1e-5)


def test_all_that_it_knows_comes_through_the_attention():
    net = captioner(decoder="recurrent")
    with torch.inference_mode():
        same = net.teacher_force(torch.zeros(2, 16, 24), SENTENCE.repeat(2, 1))
    assert torch.equal(same[0], same[1])


def test_a_memory_of_one():
    net = captioner(decoder="recurrent", memory="one")
    with torch.inference_mode():
        maps = net.decoder_output(net.encode_image(images()), SENTENCE).cross[0]
    assert torch.equal(maps, torch.ones(1, 1, 6, 1))
