// SPDX-License-Identifier: Apache-2.0
#include "common/world.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <span>
#include <string>

#include "common/process.hpp"
#include "fpq/core/hosted/error.hpp"
#if defined(FPQ_HAVE_MPI)
#include <mpi.h>
#endif

namespace fpq::tools {

namespace {

/// A number that a launcher puts into the environment; `otherwise` where none did.
int launched(std::initializer_list<char const*> names, int otherwise) {
    for (char const* const name : names) {
        if (char const* const value = std::getenv(name); value != nullptr && *value != '\0') {
            return std::atoi(value);
        }
    }
    return otherwise;
}

#if defined(FPQ_HAVE_MPI)
/// MPI counts in int: longer messages go in pieces.
constexpr std::size_t piece = std::size_t{1} << 30;

class mpi_ranks final : public rank_group {
public:
    mpi_ranks() {
        int given = 0;
        check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &given));
        int number = 0;
        check(MPI_Comm_rank(MPI_COMM_WORLD, &number));
        rank_ = static_cast<std::size_t>(number);
        check(MPI_Comm_size(MPI_COMM_WORLD, &number));
        size_ = static_cast<std::size_t>(number);
    }
    [[nodiscard]] std::size_t rank() const noexcept override { return rank_; }
    [[nodiscard]] std::size_t size() const noexcept override { return size_; }

    void exchange(std::size_t peer, std::span<std::byte const> out,
                  std::span<std::byte> in) override {
        std::size_t const most = std::max(out.size(), in.size());
        for (std::size_t at = 0; at < most; at += piece) {
            check(MPI_Sendrecv(out.data() + std::min(at, out.size()), part(out.size(), at),
                               MPI_BYTE, static_cast<int>(peer), 0,
                               in.data() + std::min(at, in.size()), part(in.size(), at), MPI_BYTE,
                               static_cast<int>(peer), 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        }
    }
    void broadcast(std::size_t root, std::span<std::byte> bytes) override {
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            check(MPI_Bcast(bytes.data() + at, part(bytes.size(), at), MPI_BYTE,
                            static_cast<int>(root), MPI_COMM_WORLD));
        }
    }
    void send(std::size_t from, std::size_t to, std::span<std::byte> bytes,
              int /*threads*/) override {
        for (std::size_t at = 0; from != to && at < bytes.size(); at += piece) {
            int const count = part(bytes.size(), at);
            if (rank_ == from) {
                check(MPI_Send(bytes.data() + at, count, MPI_BYTE, static_cast<int>(to), 0,
                               MPI_COMM_WORLD));
            } else if (rank_ == to) {
                check(MPI_Recv(bytes.data() + at, count, MPI_BYTE, static_cast<int>(from), 0,
                               MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            }
        }
    }
    void fail() noexcept override {}  // leave_world ends the others

private:
    static int part(std::size_t size, std::size_t at) noexcept {
        return static_cast<int>(std::min(piece, size - std::min(at, size)));
    }
    static void check(int result) {
        if (result != MPI_SUCCESS) {
            fail_input("MPI", {}, "success", "error " + std::to_string(result));
        }
    }

    std::size_t rank_ = 0;
    std::size_t size_ = 1;
};
#endif

}  // namespace

rank_group& world() {
#if defined(FPQ_HAVE_MPI)
    static mpi_ranks all;
    static bool const joined = [] {
        if (all.rank() != 0) {
            end_silently();  // mpirun stops the others when one has failed
        }
        agree(all, [] { require_rank_count("mpirun -np", all.size()); });
        return true;
    }();
    static_cast<void>(joined);
    return all;
#else
    static lone_rank alone;
    if (launched({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1) > 1) {
        fail_usage("started as several processes", {}, "fpq-quantize-mpi, which shares a run out",
                   "this program, which would do it once each");
    }
    return alone;
#endif
}

int local_rank() {
    return launched({"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}, 0);
}

int leave_world(int code) {
#if defined(FPQ_HAVE_MPI)
    int begun = 0;
    int ended = 0;
    MPI_Initialized(&begun);
    MPI_Finalized(&ended);
    if (begun != 0 && ended == 0) {
        if (code != 0) {
            static_cast<void>(std::fflush(nullptr));
            MPI_Abort(MPI_COMM_WORLD, code);
        }
        MPI_Finalize();
    }
#endif
    return code;
}

}  // namespace fpq::tools
