"""Writes tests/golden/metrics/cases.json: scores, labels and what scikit-learn says of them.

Run with a Python that has numpy and scikit-learn (scripts/parity makes one):
  python scripts/parity_tests/metrics_golden.py
"""

import json
import math
import pathlib
import warnings

import numpy as np
from sklearn import metrics

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/metrics/cases.json"


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def area(labels, probabilities):
    classes = probabilities.shape[1]
    if classes == 2:
        return metrics.roc_auc_score(labels, probabilities[:, 1])
    return metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro", labels=range(classes))


def top(labels, scores, k):
    """Percent among the first k; of equal scores the lower class first (scikit-learn: the higher)."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    share = 100.0 * np.mean([label in row for label, row in zip(labels, order)])
    tied = any(len(set(row)) < len(row) for row in scores)
    if not tied and scores.shape[1] > max(2, k):
        theirs = metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(scores.shape[1]))
        assert abs(share - 100 * theirs) < 1e-9
    return share


def expected(labels, scores, logits):
    classes = scores.shape[1]
    probabilities = softmax(scores) if logits else scores
    predictions = scores.argmax(1)
    result = {
        "top1": 100.0 * metrics.accuracy_score(labels, predictions),
        "top5": top(labels, scores, 5),
        "loss": metrics.log_loss(labels, probabilities, labels=range(classes)),
        "roc_auc": area(labels, probabilities),
        "roc_auc_per_class": [metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in range(classes)],
        "confusion": metrics.confusion_matrix(labels, predictions, labels=range(classes)).tolist(),
    }
    if logits:  # log_loss clips; cross entropy from logits does not
        shifted = scores - scores.max(1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        result["loss"] = -log_p[np.arange(len(labels)), labels].mean()
    for average in ("macro", "micro"):
        p, r, f, _ = metrics.precision_recall_fscore_support(labels, predictions, average=average, zero_division=0)
        result[average] = {"precision": p, "recall": r, "f1": f}
    p, r, f, _ = metrics.precision_recall_fscore_support(labels, predictions, labels=range(classes), zero_division=0)
    result["per_class"] = [{"precision": a, "recall": b, "f1": c} for a, b, c in zip(p, r, f)]
    return result


def plain(value):
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    value = float(value)
    if math.isnan(value):
        return None
    return int(value) if value == int(value) else value


def case(name, labels, scores, logits):
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    return {
        "name": name,
        "logits": logits,
        "labels": labels.tolist(),
        "scores": scores.tolist(),
        "expected": plain(expected(labels, scores, logits)),
    }


def main():
    warnings.simplefilter("ignore")
    random = np.random.default_rng(3)

    def logits(n, classes, labels=None, gain=1.5):
        values = random.normal(size=(n, classes)).round(3)
        if labels is not None:
            values[np.arange(n), labels] += gain
        return values.round(3)

    def quarters(n, classes):  # rows of quarters that sum to 1: ties within rows and between rows
        return random.multinomial(4, np.ones(classes) / classes, size=n) / 4

    def labels(n, classes):
        return random.permutation(np.arange(n) % classes)

    ten = labels(60, 10)
    five = labels(30, 3)
    two = labels(25, 2)
    cases = [
        case("ten classes", ten, logits(60, 10, ten), True),
        case("ties", labels(40, 4), quarters(40, 4), False),
        case("ties among logits", labels(40, 7), logits(40, 7).round(0), True),
        # Class 3 is predicted and never a label; class 4 is neither.
        case("absent classes", five, np.c_[logits(30, 4, five, 0.5), np.full(30, -9.0)], True),
        case("one class", np.full(12, 1), logits(12, 3), True),
        case("two classes, logits", two, logits(25, 2, two), True),
        case("two classes, probabilities with ties", two, quarters(25, 2), False),
        case("two classes, saturated", labels(30, 2), logits(30, 2).round(1) * 40, True),
        case("two classes, one absent", np.zeros(8, int), logits(8, 2), True),
        case("saturated", labels(30, 6), logits(30, 6).round(1) * 400, True),
        case("certain and wrong", [0, 1, 2, 0], [[1, 0, 0], [0, 0, 1], [0, 0.5, 0.5], [0.2, 0.3, 0.5]], False),
        case("one sample", [2], [[0.1, 0.2, 0.3, 0.4, -0.5, 0.6, 0.7]], True),
    ]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(one, separators=(",", ":"), allow_nan=False) for one in cases]
    OUT.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
