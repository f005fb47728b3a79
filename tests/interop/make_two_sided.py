#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/vectors/two_sided/*.txt: what two-sided GPTQ, polish and joint descent make of a
small seeded layer, by plain loops in float64. Needs numpy.  usage: make_two_sided.py DIR

The layer is made of small integers by a generator of one line, which tests/solve/oracle.cpp has
too: so the files hold only results. A line is `METHOD codes HEX`, a nibble a weight (E2M1 with the
sign in bit 3, zeros +0), `METHOD scales HEX`, a byte a group, or `METHOD objective X`, damped.
Rules: YAQA sketch A (arXiv 2505.22988) with GPTQ's rounding; rows in storage order, columns by
decreasing diagonal; H + 0.01 mean(diag H) I on both sides.
"""
import os
import sys

import numpy as np

M, N, TOKENS, DAMP = 24, 64, 160, 0.01
GRID = np.array([0, .5, 1, 1.5, 2, 3, 4, 6])


def integers(seed, count, low, high):
    """A 64-bit linear congruential generator; its upper half modulo the range."""
    out, state = [], seed
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append(low + (state >> 33) % (high - low + 1))
    return np.array(out, dtype=np.float64)


def layer():
    w = integers(1, M * N, -127, 127) * integers(2, M * N, -127, 127) / 2.0**18

    def moment(seed, width):
        x = integers(seed, TOKENS * width, -4, 4).reshape(TOKENS, width)
        shared = integers(seed + 1, TOKENS * 4, -4, 4).reshape(TOKENS, 4)
        size = integers(seed + 2, width, 1, 3)
        x = (x + 2 * np.repeat(shared, width // 4, axis=1)) * size
        h = x.T @ x
        return h + DAMP * np.diag(h).mean() * np.eye(width)
    return w.reshape(M, N), moment(3, N), moment(6, M)


def e2m1(v):
    """Nearest of the grid, ties to the even mantissa, as values."""
    a, out = abs(v), 6.0
    for i in range(7):
        mid = (GRID[i] + GRID[i + 1]) / 2
        if a < mid or (a == mid and i % 2 == 0):
            out = GRID[i]
            break
    return out if v >= 0 else -out


def scales_of(name, w):
    """Group length, all positive stored scales as values, ascending, and the byte of the first."""
    if name == 'nvfp4':
        e4m3 = [(m / 8 * 2.0**-6) if e == 0 else (1 + m / 8) * 2.0**(e - 7)
                for e in range(16) for m in range(8)][1:127]
        return 16, np.array(e4m3) / 2.0**np.floor(np.log2(2688 / np.abs(w).max())), 1
    return 32, 2.0**np.arange(-40.0, 16.0), 87


def weighted_sweep(w, d, scales, group):
    """Per group the scale with the least squared error, weighted by d."""
    k = np.zeros((M, N // group), int)
    for i in range(M):
        for b in range(N // group):
            at = slice(b * group, (b + 1) * group)
            amax = np.abs(w[i, at]).max()
            best = np.inf
            for c, s in enumerate(scales):
                if s * 12 < amax or s * 2.4 > amax:
                    continue
                q = np.array([e2m1(x) for x in w[i, at] / s]) * s
                e = (d[at] * (w[i, at] - q)**2).sum()
                if e < best:
                    best, k[i, b] = e, c
    return k


def upper_of_inverse(h):
    return np.linalg.cholesky(np.linalg.inv(h)).T


def gptq(w, s, hi, ho):
    """Rows one after the other, each by GPTQ in activation order."""
    perm = np.argsort(-np.diag(hi), kind='stable')
    u = upper_of_inverse(hi[np.ix_(perm, perm)])
    c = np.eye(M) if ho is None else upper_of_inverse(ho)
    t, q = w.copy(), np.zeros_like(w)
    for i in range(M):
        row = t[i, perm].copy()
        for k, j in enumerate(perm):
            q[i, j] = e2m1(row[k] / s[i, j]) * s[i, j]
            row[k + 1:] -= (row[k] - q[i, j]) / u[k, k] * u[k, k + 1:]
        t[i + 1:] -= np.outer(c[i, i + 1:] / c[i, i], t[i] - q[i])
    return q


def shifted_row(w, q, ho, i):
    """What row i should be, given all others."""
    if ho is None:
        return w[i]
    f = ho[i] / ho[i, i]
    f[i] = 0
    return w[i] - f @ (q - w)


def polish(w, q, s, hi, ho, sweeps):
    for _ in range(sweeps):
        for i in range(M):
            g = hi @ (q[i] - shifted_row(w, q, ho, i))
            for j in range(N):
                d = e2m1((q[i, j] - g[j] / hi[j, j]) / s[i, j]) * s[i, j] - q[i, j]
                q[i, j] += d
                g += d * hi[j]


def joint(w, q, k, scales, group, hi, ho, sweeps):
    for _ in range(sweeps):
        for i in range(M):
            g = hi @ (q[i] - shifted_row(w, q, ho, i))
            for b in range(N // group):
                at = slice(b * group, (b + 1) * group)
                h, old, best = hi[at, at], q[i, at].copy(), None
                least = -1e-12
                for kk in range(max(0, k[i, b] - 4), min(len(scales), k[i, b] + 5)):
                    s = scales[kk]
                    new = np.array([e2m1(x / s) * s for x in old])
                    for _ in range(2):
                        for j in range(group):
                            slope = g[at][j] + (new - old) @ h[:, j]
                            new[j] = e2m1((new[j] - slope / h[j, j]) / s) * s
                    d = new - old
                    change = 2 * g[at] @ d + d @ h @ d
                    if change < least:
                        least, best = change, (kk, new)
                if best:
                    k[i, b] = best[0]
                    g += (best[1] - old) @ hi[at]
                    q[i, at] = best[1]


def main():
    w, hi, ho = layer()
    for name in ('nvfp4', 'mxfp4'):
        group, scales, first = scales_of(name, w)
        start = weighted_sweep(w, np.diag(hi), scales, group)
        lines = ['# SPDX-License-Identifier: Apache-2.0',
                 f'# {name} of a seeded layer ({M}, {N}); made by tests/interop/make_two_sided.py']
        for method, outputs, n_polish, n_joint in (
                ('gptq', None, 0, 0), ('gptq+polish', None, 2, 0), ('gptq+joint', None, 0, 2),
                ('two_sided', ho, 0, 0), ('two_sided+polish', ho, 3, 0),
                ('two_sided+joint', ho, 0, 2)):
            k = start.copy()
            s = np.repeat(scales[k], group, axis=1)
            q = gptq(w, s, hi, outputs)
            polish(w, q, s, hi, outputs, n_polish)
            joint(w, q, k, scales, group, hi, outputs, n_joint)
            v = q / np.repeat(scales[k], group, axis=1)
            codes = np.searchsorted(GRID, np.abs(v)) + 8 * (v < 0)
            e = q - w
            x = np.sum((e @ hi) * (e if outputs is None else outputs @ e))
            lines += [f'{method} codes ' + ''.join(f'{c:x}' for c in codes.ravel()),
                      f'{method} scales ' + ''.join(f'{c + first:02x}' for c in k.ravel()),
                      f'{method} objective {x:.17g}']
        with open(os.path.join(sys.argv[1], name + '.txt'), 'w', encoding='utf8') as f:
            f.write('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
