"""Rows for `minicnn.ops.loss`, `minicnn.ops.ctc` and the losses of `minicnn.nn.functional`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from minicnn.testing.cases.case import Case, both, functional, layer, positive

LABELS, HOLES = np.array([2, 0, 1, 2]), np.array([2, -100, -100, 0])
NO_LABELS = np.zeros(0, int)
PIXEL_LABELS = np.array([[[0, 1]], [[1, -1]]])
CLASS_WEIGHTS = np.array([0.5, 2.0, 1.5])
LABEL_LISTS = np.array([[2, 0, -1, 1], [-1, 0, 1, 2], [3, 2, 1, 0], [1, 1, -1, -1]])
SIGNS = np.array([1, -1, -1, 1])
ANSWERS = np.array([[1.0, 0.0, 0.3], [0.0, 0.0, 1.0]])
SHARES = np.array([[0.1, 0.3, 0.4], [0.2, 0.45, 0.05]])
COUNTS = np.array([[0.2, 1.0, 7.0], [2.0, 3.5, 0.5]])
LENGTHS = (5, 3, 1), (3, 0, 1)  # of the inputs and of the targets of three sequences
SPELLED = np.array([[1, 1, 2], [0, 0, 0], [2, 0, 0]])


def loss(op: str, name: str, kind: str, *inputs: Any, **settings: Any) -> Case:
    """Make a row for a function of `nn.functional`: shapes are differentiated, arrays are given."""

    def function(m: Any, *tensors: Any) -> Any:
        made = iter(tensors)
        like = tensors[0]
        arguments = [next(made) if isinstance(x, tuple) else given(m, x, like) for x in inputs]
        named = {name: given(m, value, like) for name, value in settings.items()}
        return getattr(m.nn.functional, kind)(*arguments, **named)

    shapes = [x for x in inputs if isinstance(x, tuple)]
    return both(op, name, function, *shapes, through=kind)


def given(m: Any, value: Any, like: Any) -> Any:
    """Make a tensor of an array, of the same floating-point type; anything else stays as it is."""
    if not isinstance(value, np.ndarray):
        return value
    return m.tensor(value).to(like.dtype) if value.dtype.kind == "f" else m.tensor(value)


def sequence_loss(targets: Any, lengths: Any, settings: Any, m: Any, x: Any) -> Any:
    """Return the loss of `ctc_loss` for logits: torch's gradient is right only for those."""
    log_probs = m.log_softmax(x, -1)
    return m.nn.functional.ctc_loss(log_probs, m.tensor(targets), *lengths, **settings)


def cosine(m: Any, x: Any, y: Any) -> Any:
    """Return a distance that is not the default one."""
    return 1 - m.nn.functional.cosine_similarity(x, y)


ROWS = [
    # class labels
    loss("softmax_cross_entropy", "all ignored", "cross_entropy", (2, 3), np.array([-100, -100]),
         reduction="sum"),
    loss("mean_cross_entropy", "one sample", "cross_entropy", (3,), np.array(1)),
    loss("mean_cross_entropy", "one class", "cross_entropy", (3, 1), np.array([0, 0, 0])),
    loss("softmax_cross_entropy", "no samples", "cross_entropy", (0, 3),
         NO_LABELS, reduction="none"),
    loss("softmax_cross_entropy", "no pixels", "cross_entropy", (2, 3, 0), NO_LABELS.reshape(2, 0),
         reduction="sum"),
    loss("softmax_cross_entropy", "a weight of 0", "cross_entropy", (4, 3), LABELS,
         weight=np.array([0.0, 2.0, 0.0])),
    loss("softmax_cross_entropy", "weighted, ignored", "cross_entropy", (4, 3), HOLES,
         weight=CLASS_WEIGHTS),
    loss("mean_cross_entropy", "ignored labels", "cross_entropy", (4, 3), HOLES),
    loss("mean_cross_entropy", "small integers", "cross_entropy", (4, 3),
         LABELS.astype(np.uint8)),
    loss("mean_cross_entropy", "pixels", "cross_entropy", (2, 2, 1, 2),
         PIXEL_LABELS, ignore_index=-1),
    loss("mean_cross_entropy", "batch", "cross_entropy", (4, 3), LABELS),
    loss("softmax_cross_entropy", "summed", "cross_entropy", (4, 3), LABELS, reduction="sum"),
    loss("softmax_cross_entropy", "each", "cross_entropy", (4, 3), LABELS, reduction="none"),
    loss("log_softmax", "smoothed, weighted, ignored", "cross_entropy", (4, 3), HOLES,
         weight=CLASS_WEIGHTS, label_smoothing=0.2),
    loss("log_softmax", "smoothed, weighted, summed", "cross_entropy", (4, 3), LABELS,
         weight=CLASS_WEIGHTS, label_smoothing=0.2, reduction="sum"),
    loss("log_softmax", "smoothed pixels", "cross_entropy", (2, 2, 1, 2), PIXEL_LABELS,
         ignore_index=-1, label_smoothing=0.3, reduction="none"),
    loss("log_softmax", "smoothed", "cross_entropy", (4, 3), LABELS, label_smoothing=0.2),
    loss("log_softmax", "smoothed to nothing", "cross_entropy", (3,), np.array(1),
         label_smoothing=1.0),
    loss("index", "likelihood of one sample", "nll_loss", (3,), np.array(2)),
    loss("index", "likelihood weighted", "nll_loss", (4, 3), HOLES, weight=CLASS_WEIGHTS),
    loss("index", "likelihood of pixels", "nll_loss", (2, 2, 1, 2), PIXEL_LABELS, ignore_index=-1),
    loss("weighted_total", "likelihood of no samples", "nll_loss", (0, 3), NO_LABELS,
         reduction="sum"),
    loss("index", "likelihood each", "nll_loss", (4, 3), LABELS, reduction="none"),
    loss("weighted_total", "negative log likelihood", "nll_loss", (4, 3), LABELS),
    # class probabilities, which have a gradient too
    functional("log_softmax", "probabilities of pixels", "cross_entropy", (2, 3, 1, 2),
               (2, 3, 1, 2), reduction="none"),
    functional("log_softmax", "no probabilities", "cross_entropy", (0, 3), (0, 3),
               reduction="sum"),
    functional("log_softmax", "probabilities", "cross_entropy", (4, 3), (4, 3)),
    loss("log_softmax", "probabilities, weighted, smoothed", "cross_entropy", (4, 3), (4, 3),
         weight=CLASS_WEIGHTS, label_smoothing=0.2),
    # margins between classes
    loss("relu", "margins of one sample", "multi_margin_loss", (3,), np.array(1)),
    loss("relu", "margins of one label", "multi_margin_loss", (3,), np.array([1]),
         reduction="none"),
    loss("relu", "margins squared, weighted", "multi_margin_loss", (4, 3), LABELS, 2, 0.5,
         weight=CLASS_WEIGHTS, reduction="none"),
    loss("relu", "margins", "multi_margin_loss", (4, 3), LABELS),
    loss("relu", "labels that end", "multilabel_margin_loss", (4, 4), LABEL_LISTS),
    loss("relu", "labels of one sample", "multilabel_margin_loss", (4,), LABEL_LISTS[0],
         reduction="none"),
    loss("relu", "no label at all", "multilabel_margin_loss", (2, 2), -np.ones((2, 2), int),
         reduction="sum"),
    loss("relu", "labels each", "multilabel_margin_loss", (4, 4), LABEL_LISTS, reduction="none"),
    loss("log_loss_of_logits", "labels softly", "multilabel_soft_margin_loss", (2, 3), ANSWERS),
    loss("log_loss_of_logits", "labels softly, weighted", "multilabel_soft_margin_loss", (2, 3),
         (2, 3), weight=CLASS_WEIGHTS, reduction="none"),
    loss("log_loss_of_logits", "labels of an image", "multilabel_soft_margin_loss", (2, 1, 3),
         (3,), reduction="sum"),
    # yes or no
    both("log_loss", "both", lambda m, x, t:
         m.nn.functional.binary_cross_entropy(m.sigmoid(x / 4), m.sigmoid(t)), (2, 3), (2, 3)),
    both("log_loss", "each, weighted", lambda m, x: m.nn.functional.binary_cross_entropy(
         m.sigmoid(x), *(given(m, v, x) for v in (ANSWERS, CLASS_WEIGHTS)), reduction="none"),
         (2, 3)),
    both("log_loss", "nothing", lambda m, x: m.nn.functional.binary_cross_entropy(
         m.sigmoid(x), m.sigmoid(x), reduction="sum"), (0, 3)),
    functional("log_loss_of_logits", "both", "binary_cross_entropy_with_logits", (2, 3), (2, 3)),
    functional("log_loss_of_logits", "one", "binary_cross_entropy_with_logits", (), ()),
    loss("log_loss_of_logits", "weighted", "binary_cross_entropy_with_logits", (2, 3), ANSWERS,
         weight=np.array([[0.5], [2.0]]), reduction="sum"),
    loss("logsigmoid", "more weight on yes", "binary_cross_entropy_with_logits", (2, 3),
         (2, 3), pos_weight=CLASS_WEIGHTS, weight=CLASS_WEIGHTS, reduction="none"),
    loss("logistic_loss", "a sign", "soft_margin_loss", (4,), SIGNS),
    loss("logistic_loss", "each sign", "soft_margin_loss", (2, 4), SIGNS, reduction="none"),
    # distances of numbers
    functional("squared_error", "one error", "mse_loss", (), ()),
    functional("squared_error", "no errors", "mse_loss", (0, 3), (0, 3), reduction="sum"),
    functional("squared_error", "error squared", "mse_loss", (2, 3), (2, 3)),
    functional("squared_error", "error squared, summed", "mse_loss", (2, 3), (2, 3),
               reduction="sum"),
    functional("squared_error", "error squared, each", "mse_loss", (2, 3), (2, 3),
               reduction="none"),
    loss("squared_error", "error squared, weighted", "mse_loss", (2, 3), (2, 3),
         weight=np.ones((2, 3)) * CLASS_WEIGHTS),
    loss("squared_error", "error squared, weighted, each", "mse_loss", (2, 3), (2, 3),
         weight=ANSWERS, reduction="none"),
    functional("absolute_error", "error", "l1_loss", (2, 3), (2, 3)),
    functional("absolute_error", "error summed", "l1_loss", (2, 1, 3), (2, 1, 3), reduction="sum"),
    loss("absolute_error", "error weighted", "l1_loss", (2, 3), (2, 3), weight=ANSWERS),
    functional("huber", "error, rounded off", "smooth_l1_loss", (2, 3), (2, 3), beta=0.7),
    functional("huber", "error, rounded off, each", "smooth_l1_loss", (3, 4), (3, 4),
               reduction="none"),
    functional("absolute_error", "error, not rounded off", "smooth_l1_loss", (2, 3), (2, 3),
               beta=0.0),
    functional("huber", "error, squared near 0", "huber_loss", (2, 3), (2, 3)),
    functional("huber", "none", "huber_loss", (0,), (0,), reduction="sum"),
    loss("huber", "weighted", "huber_loss", (3, 3), (3, 3), delta=0.6,
         weight=np.ones((3, 3)) * CLASS_WEIGHTS),
    # distributions
    functional("exp", "divergence of logarithms", "kl_div", (2, 3), (2, 3), log_target=True,
               reduction="batchmean"),
    loss("xlogy", "divergence", "kl_div", (2, 3), positive(2, 3), reduction="sum"),
    loss("xlogy", "divergence from one for all", "kl_div", (2, 3), positive(3), reduction="none"),
    loss("sub", "divergence from answers", "kl_div", (2, 3), ANSWERS, reduction="batchmean"),
    functional("poisson_loss", "counts", "poisson_nll_loss", (2, 3), (2, 3)),
    loss("poisson_loss", "counts, with Stirling", "poisson_nll_loss", (2, 3), COUNTS, full=True),
    loss("log", "counts, not logarithms", "poisson_nll_loss", positive(2, 3), COUNTS, False,
         full=True, reduction="none"),
    functional("log", "a normal distribution", "gaussian_nll_loss", (2, 3), (2, 3),
               positive(2, 3)),
    functional("log", "a variance for each row", "gaussian_nll_loss", (2, 3), (2, 3), positive(2),
               full=True, reduction="none"),
    functional("log", "a variance for each column", "gaussian_nll_loss", (2, 3), (2, 3),
               positive(1, 3), reduction="sum"),
    loss("square", "a fixed variance", "gaussian_nll_loss", (2, 3), (2, 3), var=0.7),
    # pairs and triplets
    loss("limit", "distances of pairs", "hinge_embedding_loss", (2, 4), SIGNS, 0.7),
    loss("limit", "a pair each", "hinge_embedding_loss", (4,), SIGNS, reduction="none"),
    loss("limit", "ranks", "margin_ranking_loss", (4,), (4,), SIGNS),
    loss("limit", "ranks of all", "margin_ranking_loss", (4, 1), (1, 4), SIGNS[None], 0.4,
         reduction="none"),
    functional("difference", "pairwise", "pairwise_distance", (2, 3), (2, 3)),
    functional("finite_norm", "pairwise from one", "pairwise_distance", (3,), (2, 3), p=3.0,
               keepdim=True),
    functional("finite_norm", "pairwise, absolute", "pairwise_distance", (2, 2, 3), (3,), p=1),
    functional("finite_norm", "cosine", "cosine_similarity", (2, 3), (2, 3)),
    functional("finite_norm", "cosine of all", "cosine_similarity", (2, 1, 3), (4, 3), dim=-1),
    functional("finite_norm", "cosine of channels", "cosine_similarity", (2, 3, 1, 2), (3, 2, 1),
               dim=-3),
    loss("limit", "angles", "cosine_embedding_loss", (4, 3), (4, 3), SIGNS, reduction="none"),
    loss("limit", "angles of one", "cosine_embedding_loss", (3,), (3,), np.array(-1), -0.9),
    functional("limit", "triplets", "triplet_margin_loss", (2, 3), (2, 3), (2, 3), margin=2.0),
    functional("limit", "a triplet", "triplet_margin_loss", (3,), (3,), (3,), p=3, margin=3.0),
    functional("minimum", "triplets swapped", "triplet_margin_loss", (4, 3), (4, 3), (1, 3),
               swap=True, reduction="none"),
    both("limit", "triplets by angle", lambda m, *x:
         m.nn.functional.triplet_margin_with_distance_loss(
             *x, distance_function=partial(cosine, m), swap=True), (4, 3), (4, 3), (4, 3)),
    functional("limit", "default triplets", "triplet_margin_with_distance_loss", (2, 3), (2, 3),
               (2, 3), reduction="sum"),
    # sequences
    *(
        both("alignment_loss", name, partial(sequence_loss, targets, lengths, settings), shape,
             through="ctc_loss", order=1)
        for name, shape, targets, lengths, settings in [
            ("too long for its input", (4, 3, 4), SPELLED, ((4, 2, 4), (3, 3, 1)),
             {"zero_infinity": True}),
            ("nothing to spell", (3, 2, 2), np.zeros((2, 0), int), ((3, 0), (0, 0)),
             {"reduction": "none"}),
            ("the last is the blank", (5, 3, 4), SPELLED, LENGTHS, {"blank": 3}),
            ("one after the other", (5, 3, 4), np.array([1, 1, 2, 2]), LENGTHS,
             {"reduction": "none"}),
            ("one sequence", (4, 4), np.array([2, 1]), ((4,), (2,)), {}),
            ("padded", (5, 3, 4), np.where(SPELLED, SPELLED, 1), LENGTHS, {"reduction": "sum"}),
        ]
    ),
]  # fmt: skip

LAYERS = [
    layer("smoothed", lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1), (4, 3), LABELS),
    layer("ignoring", lambda nn: nn.CrossEntropyLoss(ignore_index=2), (4, 3), LABELS),
    layer("probabilities", lambda nn: nn.CrossEntropyLoss(reduction="sum"), (4, 3), (4, 3)),
    layer("mean", lambda nn: nn.NLLLoss(), (4, 3), LABELS),
    layer("ignoring", lambda nn: nn.NLLLoss(ignore_index=0, reduction="none"), (4, 3), LABELS),
    layer("squared", lambda nn: nn.MultiMarginLoss(2, 0.5), (4, 3), LABELS),
    layer("mean", lambda nn: nn.MultiLabelMarginLoss(), (4, 4), LABEL_LISTS),
    layer("each", lambda nn: nn.MultiLabelSoftMarginLoss(reduction="none"), (2, 3), (2, 3)),
    layer("sum", lambda nn: nn.BCELoss(reduction="sum"), SHARES, SHARES[::-1]),
    layer("mean", lambda nn: nn.BCEWithLogitsLoss(), (2, 3), (2, 3)),
    layer("each", lambda nn: nn.SoftMarginLoss(reduction="none"), (2, 4), SIGNS),
    layer("mean", lambda nn: nn.MSELoss(), (2, 3), (2, 3)),
    layer("sum", lambda nn: nn.L1Loss(reduction="sum"), (2, 3), (2, 3)),
    layer("narrow", lambda nn: nn.SmoothL1Loss(beta=0.3), (2, 3), (2, 3)),
    layer("narrow", lambda nn: nn.HuberLoss("sum", 0.3), (2, 3), (2, 3)),
    layer("sum", lambda nn: nn.KLDivLoss(reduction="sum", log_target=True), (2, 3), (2, 3)),
    layer("not full", lambda nn: nn.PoissonNLLLoss(), (2, 3), COUNTS),
    layer("full", lambda nn: nn.PoissonNLLLoss(False, True), positive(2, 3), COUNTS),
    layer("full", lambda nn: nn.GaussianNLLLoss(full=True), (2, 3), (2, 3), positive(2, 1)),
    layer("margin", lambda nn: nn.HingeEmbeddingLoss(0.7), (2, 4), SIGNS),
    layer("margin", lambda nn: nn.MarginRankingLoss(0.4), (4,), (4,), SIGNS),
    layer("margin", lambda nn: nn.CosineEmbeddingLoss(-0.9), (4, 3), (4, 3), SIGNS),
    layer("margin", lambda nn: nn.TripletMarginLoss(2.0, swap=True), (2, 3), (2, 3), (2, 3)),
    layer("margin", lambda nn: nn.TripletMarginWithDistanceLoss(margin=2.0),
          (2, 3), (2, 3), (2, 3)),
    # torch's gradient is right only through a log_softmax
    layer("padded", lambda nn: nn.CTCLoss(), (5, 3, 4), SPELLED, *map(np.array, LENGTHS),
          torch=False, order=1),
    layer("absolute", lambda nn: nn.PairwiseDistance(1, keepdim=True), (2, 3), (2, 3)),
    layer("of channels", lambda nn: nn.CosineSimilarity(1), (2, 3, 2), (2, 3, 2)),
]  # fmt: skip
