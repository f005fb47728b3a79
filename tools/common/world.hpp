// SPDX-License-Identifier: Apache-2.0
// The processes that share a run out: those that mpirun started fpq-quantize-mpi as, else this one.
#pragma once

#include <cstddef>
#include <exception>

#include "fpq/core/hosted/ranks.hpp"

namespace fpq::tools {

/// Joins the others at the first call. Throws fpq::error (usage) for a number of processes that
/// cannot share out a run, and in a program without MPI for more than one.
rank_group& world();

/// Which of the processes of this host this one is: the number of the card that it takes.
int local_rank();

/// Leaves the world with this exit code: when it is not 0 the others end too. Returns it.
int leave_world(int code);

/// f() on every rank: what may fail before anything is shared. Where it fails on some, the first of
/// them throws what it threw, and the others wait to be ended: the failure is said once.
template <class F>
void agree(rank_group& ranks, F const& f) {
    std::exception_ptr mine;
    try {
        f();
    } catch (...) {
        mine = std::current_exception();
    }
    for (std::size_t r = 0; r < ranks.size(); ++r) {
        char failed = mine ? 1 : 0;
        broadcast_value(ranks, r, failed);
        if (failed == 0) {
            continue;
        }
        if (r == ranks.rank()) {
            std::rethrow_exception(mine);
        }
        broadcast_value(ranks, r, failed);  // never comes
    }
}

}  // namespace fpq::tools
