"""The noise transition that the labels of nearest neighbours agree and disagree by."""

import torch
from torch import Tensor, nn

from lilawbench.support.lean import lean

MOST_CLASSES = 100  # counts of triples take K^3 numbers, a step of the fit K^4 operations
STEPS, LR = 400, 0.1
BETTER, PATIENCE = 1e-3, 50  # the fit ends where it got no more than that much better in so many steps


def transition_of(observed: Tensor, neighbours: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """The transition matrix and the shares of the true classes under which a row and its two nearest neighbours, which
    are taken to share their true class, have the observed labels that they have.

        c1 = T' p,  c2[i, j] = sum_k p_k T_ki T_kj,  c3[i, j, l] = sum_k p_k T_ki T_kj T_kl

    Args:
        observed: labels, [N] int64. neighbours: the two nearest other rows of each, [N, 2] int64. num_classes: K, at
            most 100.
    Returns:
        T[i, j] = P(observed = j given true = i), [K, K] float64, and p, [K].
    Raises:
        ValueError: more than 100 classes.
    Source: Zhu et al. 2021 ("Clusterability as an Alternative to Anchor Points", HOC), eq. 2 to 5, fitted as SimiFeat
        does: the sum of the norms of the three differences, by Adam at .1 from a diagonal T. Deviations: counts of all
        rows, where theirs are means over 50 samples of 15,000; p begins equal, without a random part; the fit ends
        early where it no longer gets better.
    """
    if num_classes > MOST_CLASSES:
        raise ValueError(f"{num_classes} classes; counts of triples are for {MOST_CLASSES} at most")
    classes = num_classes
    first, second = observed[neighbours[:, 0]], observed[neighbours[:, 1]]
    place = (observed * classes + first) * classes + second
    triples = place.bincount(minlength=classes**3).double().view((classes,) * 3) / len(observed)
    counts = [triples.sum((1, 2)), triples.sum(2), triples]
    rows = nn.Parameter(5 * torch.eye(classes, dtype=torch.float64) - 1)
    shares = nn.Parameter(torch.zeros(classes, dtype=torch.float64))
    optimizer = lean(torch.optim.Adam, [rows, shares], lr=LR)
    least, since, best = torch.inf, 0, (rows.detach().softmax(1), shares.detach().softmax(0))
    with torch.enable_grad():
        for _ in range(STEPS):
            transition, share = rows.softmax(1), shares.softmax(0)
            joint = share[:, None] * transition
            of_three = joint.T @ (transition[:, :, None] * transition[:, None, :]).reshape(classes, -1)
            made = [joint.sum(0), joint.T @ transition, of_three.view(triples.shape)]
            loss = torch.stack([(c - m).norm() for c, m in zip(counts, made)]).sum()
            since += 1
            if loss.item() < least * (1 - BETTER):
                least, since, best = loss.item(), 0, (transition.detach(), share.detach())
            if since == PATIENCE:
                break
            rows.grad, shares.grad = torch.autograd.grad(loss, [rows, shares])
            optimizer.step()
    return best


def wrong_shares(observed: Tensor, neighbours: Tensor, num_classes: int) -> Tensor:
    """P(true != j given observed = j) of each class by `transition_of`, [K] in [0, 1].

    Arguments, errors: as there.
    """
    transition, share = transition_of(observed, neighbours, num_classes)
    counts = observed.bincount(minlength=num_classes)
    right = transition.diagonal() * share * len(observed) / counts.clamp(min=1)
    return (1 - right).clamp(0, 1)
