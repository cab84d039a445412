"""The best spanning arborescence of a directed graph."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def best_arborescence(score: np.ndarray) -> np.ndarray:
    r"""Return the heads of the arborescence from node 0 with the largest sum of scores, int64 ``[n + 1]``.

    Chu-Liu and Edmonds: every node takes its best arc; a cycle becomes one node, whose incoming arcs are worth what
    they gain over the arc that they replace; at the end cycles are opened where they were entered.

    Args:
        score: float64 ``[n + 1, n + 1]`` of (head, dependent); node 0 is the root, arcs into it do not count.

    Returns:
        Head of each node; -1 for the root.

    Example:
        >>> best_arborescence(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 3.0, 0.0]])).tolist()
        [-1, 0, 1]

    Cost: O(n^3) time, O(n^2) memory.
    """
    n = score.shape[0]
    most = 2 * n  # each contraction makes one node of two or more
    weight = np.full((most, most), -np.inf)
    head_of, into = np.zeros((most, most), dtype=np.int64), np.zeros((most, most), dtype=np.int64)
    for h in range(n):
        for d in range(1, n):
            if h != d:
                weight[h, d] = max(score[h, d], -1e300)  # a forbidden arc is still an arc
            head_of[h, d], into[h, d] = h, d
    active = np.zeros(most, dtype=np.bool_)
    active[:n] = True
    parent = np.full(most, -1, dtype=np.int64)  # the node that a node was contracted into
    best = np.full(most, -1, dtype=np.int64)
    head, entered = np.full(n, -1, dtype=np.int64), np.full(most, -1, dtype=np.int64)
    arc_head, arc_into = np.full(most, -1, dtype=np.int64), np.full(most, -1, dtype=np.int64)
    count = n
    while True:
        for d in range(1, count):
            if not active[d]:
                continue
            best[d] = -1
            for h in range(count):
                if active[h] and h != d and (best[d] < 0 or weight[h, d] > weight[best[d], d]):
                    best[d] = h
            arc_head[d], arc_into[d] = head_of[best[d], d], into[best[d], d]
        start = _on_cycle(best, active, count)
        if start < 0:
            break
        # contract the cycle through start into the node `count`
        new = count
        count += 1
        member = start
        while True:
            active[member] = False
            parent[member] = new
            member = best[member]
            if member == start:
                break
        for other in range(new):
            if not active[other]:
                continue
            member = start
            while True:
                gain = weight[other, member] - weight[best[member], member]
                if gain > weight[other, new] or weight[other, new] == -np.inf:
                    weight[other, new] = gain
                    head_of[other, new], into[other, new] = head_of[other, member], into[other, member]
                if weight[member, other] > weight[new, other] or weight[new, other] == -np.inf:
                    weight[new, other] = weight[member, other]
                    head_of[new, other], into[new, other] = head_of[member, other], into[member, other]
                member = best[member]
                if member == start:
                    break
        active[new] = True
    # open the contracted nodes from the last to the first: the member that the arc enters takes it
    for node in range(count - 1, 0, -1):
        if parent[node] >= 0 and _inside(entered[parent[node]], node, parent):
            entered[node] = entered[parent[node]]
        else:
            entered[node] = arc_into[node]
            head[arc_into[node]] = arc_head[node]
    return head


@njit(nogil=True, cache=True)
def _on_cycle(best: np.ndarray, active: np.ndarray, count: int) -> int:
    """Return a node on a cycle of best arcs, or -1."""
    seen = np.zeros(count, dtype=np.int64)
    for start in range(1, count):
        node = start
        while active[start] and node > 0 and seen[node] == 0:
            seen[node] = start
            node = best[node]
        if active[start] and node > 0 and seen[node] == start:
            return node
    return -1


@njit(nogil=True, cache=True)
def _inside(leaf: int, node: int, parent: np.ndarray) -> bool:
    """Say whether an original node lies in a contracted one (or is it)."""
    while leaf >= 0:
        if leaf == node:
            return True
        leaf = parent[leaf]
    return False


@njit(nogil=True, cache=True)
def best_arborescences(score: np.ndarray) -> np.ndarray:
    """Return ``best_arborescence`` of each graph, int64 ``[b, n + 1]``.

    Args:
        score: float64 ``[b, n + 1, n + 1]``.

    Example:
        >>> best_arborescences(np.zeros((2, 2, 2))).tolist()
        [[-1, 0], [-1, 0]]

    Cost: O(b n^3) time.
    """
    heads = np.empty(score.shape[:2], dtype=np.int64)
    for b in range(score.shape[0]):
        heads[b] = best_arborescence(score[b])
    return heads
