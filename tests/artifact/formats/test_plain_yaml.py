import pytest

from modelward.artifact.formats.plain_yaml import MOST, size
from modelward.artifact.reading import Reading
from modelward.artifact.verdict import inspect_bytes
from modelward.artifact.yaml import parse


def bomb(levels, width):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def written_out(node):
    """The same count by recursion."""
    if hasattr(node, "pairs"):
        return 1 + sum(written_out(part) for pair in node.pairs for part in pair)
    return 1 + sum(map(written_out, node.items)) if hasattr(node, "items") else 1


@pytest.mark.parametrize("text", ["a: 1", "- x\n- [y, z]", bomb(4, 3), "a: &a {b: 1}\nc: [*a, *a]\n"])
def test_the_count_is_that_of_the_text_written_out(text):
    (root,) = parse(text)
    assert size(root, Reading()) == written_out(root)


def test_an_alias_of_itself_is_infinite():
    (root,) = parse("a: &a [*a]\n")
    assert size(root, Reading()) == float("inf")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (bomb(30, 9), "unproven"),
        ("a: &a [1, *a]\n", "unproven"),
        (bomb(4, 3), None),
        ("base: &base {lr: 0.1}\nrun:\n  <<: *base\n  steps: 3\n", None),
        ("a: 1\n", None),
    ],
)
def test_bombs(text, verdict):
    report = inspect_bytes(text.encode(), "config.yaml")
    assert (report.format, report.verdict) == ("yaml", verdict)


def test_the_limit_is_where_it_is_said_to_be():
    (root,) = parse(bomb(8, 9))
    assert (size(root, Reading()) > MOST) is (written_out(root) > MOST)


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ('\'__import__("os").system("true")\'', "dangerous"),
        ("'open(\"/etc/passwd\")'", "dangerous"),
        ("'2 * 3'", "inert"),
    ],
)
def test_resolvers_that_evaluate(expression, verdict):
    report = inspect_bytes(f"lr: ${{eval:{expression}}}\npath: ${{oc.env:HOME}}\n".encode(), "config.yaml")
    assert (report.format, report.verdict) == ("object-yaml", verdict)
