"""The shapes in the signatures of core/ and weighting/ are there, are checked in tests, and cost nothing outside."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError

import rest_verl
from rest_verl.core.regions import Region, TaggedBatch
from rest_verl.core.tokens import TokenBytes
from rest_verl.core.weights import normalise_rows, per_region
from rest_verl.weighting.step_batch import StepBatch

PACKAGE = Path(rest_verl.__file__).parent
MODULES = [path for room in ("core", "weighting") for path in sorted((PACKAGE / room).glob("*.py"))]
ARRAYS = {"Tensor", "torch.Tensor", "np.ndarray"}


def annotations(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.returns
            yield from (argument.annotation for argument in (*node.args.args, *node.args.kwonlyargs))
        elif isinstance(node, ast.AnnAssign):
            yield node.annotation


def bare_arrays(annotation):
    """Arrays in an annotation that stand without a shape: outside of Float[...] and its like."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        first, *others = annotation.slice.elts
        if ast.unparse(first) in ARRAYS and isinstance(others[0], ast.Constant):
            return []
    here = [ast.unparse(annotation)] if ast.unparse(annotation) in ARRAYS else []
    return here + [found for child in ast.iter_child_nodes(annotation) for found in bare_arrays(child)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_array_in_a_signature_has_a_shape(path):
    found = [
        bare
        for annotation in annotations(ast.parse(path.read_text()))
        if annotation
        for bare in bare_arrays(annotation)
    ]
    assert found == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: normalise_rows(torch.ones(2, 3), torch.ones(2, 4, dtype=torch.bool)),
        lambda: normalise_rows(torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3)),
        lambda: per_region(torch.zeros(2, 3, dtype=torch.int64), {Region.NAME: 1.0}),
        lambda: TaggedBatch(torch.zeros(2, 3, dtype=torch.int8), torch.ones(3, 2, dtype=torch.int64)),
        lambda: StepBatch(1, None),
        lambda: TokenBytes.from_pieces([b"a"]).decode(torch.zeros(2, dtype=torch.int64)),
    ],
    ids=[
        "other length",
        "weights that are integers",
        "wide regions",
        "transposed mask",
        "no regions",
        "tensor of ids",
    ],
)
def test_what_does_not_fit_a_signature_is_an_error_in_tests(call):
    with pytest.raises(TypeCheckError):
        call()


def test_outside_of_tests_functions_are_as_they_are_written():
    script = (
        "import sys\nfrom rest_verl.core.weights import gini\nfrom rest_verl.core.regions import TaggedBatch\n"
        "from rest_verl.weighting.schemes import paper\n"
        "assert not any('__wrapped__' in vars(one) for one in (gini, paper, TaggedBatch.__init__))\n"
        "assert 'beartype' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
