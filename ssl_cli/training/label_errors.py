"""Labels that are probably wrong, told by what classifiers that did not see them say (confident learning)."""

import warnings

import torch
from torch import Tensor

COMPONENTS = 64  # of the features, so that hundreds of classes do not take minutes
PENALTY = 0.1  # inverse; of features with variance 1


def likely_classes(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The class that each label was probably meant to be; its own where nothing speaks against it.

    An input belongs to class j where its probability reaches the mean probability of j over the inputs with that label; of
    several such classes, to the most probable one (Northcutt et al., 2021, section 3.1). A class of which a classifier is
    seldom sure needs less than one of which it is always sure. Where that is another class than its label's, and more
    probable than it, the label is suspect.

    Args:
        probabilities: float (N, C), of classifiers that did not see the label.
        labels: int64 (N,), given classes.

    Returns:
        int64 (N,).
    """
    own = probabilities.gather(1, labels[:, None])[:, 0]
    counts = torch.bincount(labels, minlength=probabilities.shape[1])
    sums = torch.zeros(len(counts), dtype=own.dtype).scatter_add_(0, labels, own)
    thresholds = torch.where(counts > 0, sums / counts.clamp(min=1), torch.inf)
    reached = torch.where(probabilities >= thresholds, probabilities, -1.0)
    highest, found = reached.max(1)
    return torch.where(highest > own, found, labels)


def out_of_fold_probabilities(features: Tensor, labels: Tensor, fold: Tensor) -> Tensor:
    """What a logistic regression on the other folds says of each input.

    Args:
        features: float (N, D).
        labels: int64 (N,), of consecutive classes, each of which is in two folds at least.
        fold: int64 (N,), the fold of each.

    Returns:
        float64 (N, classes).
    """
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fewest = len(labels) - int(torch.bincount(fold).max())
    steps = [StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300)]
    if min(features.shape[1], fewest) > COMPONENTS:
        steps.insert(1, PCA(COMPONENTS, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is nearly there ranks labels as well
        found = cross_val_predict(
            make_pipeline(*steps),
            features.double().numpy(),
            labels.numpy(),
            cv=PredefinedSplit(fold.numpy()),
            method="predict_proba",
        )
    return torch.from_numpy(found)
