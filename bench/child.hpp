// SPDX-License-Identifier: Apache-2.0
// Work done in a process of its own, for what only a process has: a peak of memory. Linux and
// macOS.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>

namespace fpq::bench {

struct child_usage {
    double seconds = 0;
    double processor_seconds = 0;  // user and system, all threads
    double peak_mib = 0;           // resident
    bool good = false;
};

/// Runs f() in a forked child; an exception counts as a failure and is printed.
template <class F>
child_usage in_child(F const& f) {
    std::fflush(nullptr);  // or the child would print it again
    auto const begin = std::chrono::steady_clock::now();
    ::pid_t const child = ::fork();
    if (child == 0) {
        int code = 0;
        try {
            f();
        } catch (std::exception const& why) {
            std::fprintf(stderr, "%s\n", why.what());
            code = 1;
        }
        ::_exit(code);
    }
    int status = 0;
    rusage usage{};
    child_usage out;
    out.good = child > 0 && ::wait4(child, &status, 0, &usage) == child && WIFEXITED(status) &&
               WEXITSTATUS(status) == 0;
    out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    auto const of = [](timeval const& t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    out.processor_seconds = of(usage.ru_utime) + of(usage.ru_stime);
#if defined(__APPLE__)
    out.peak_mib = static_cast<double>(usage.ru_maxrss) / 1048576.0;
#else
    out.peak_mib = static_cast<double>(usage.ru_maxrss) / 1024.0;
#endif
    return out;
}

}  // namespace fpq::bench
