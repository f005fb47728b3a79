// SPDX-License-Identifier: Apache-2.0
// A library for LD_PRELOAD that lets one call to the system fail. FPQ_FAIL_CALL: which one, counted
// from 1 over all calls below; FPQ_FAIL_ERRNO: with which errno. FPQ_FAIL_THREADS: from which
// thread on, counted from 1, none can be started; 0: all can. At its end the process writes to
// FPQ_FAIL_COUNT the number of calls it made, the name of the one that failed, and the number of
// threads that it did not get.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

namespace {

std::atomic<long> calls{0};
std::atomic<long> threads{0};
std::atomic<long> refused{0};
char const* failed = "none";

long number(char const* name) {
    char const* const text = std::getenv(name);
    return text == nullptr ? 0 : std::atol(text);
}

/// Counts a call; whether it is the one to fail. errno is set then.
bool fails(char const* name) {
    static long const which = number("FPQ_FAIL_CALL");
    static long const with = number("FPQ_FAIL_ERRNO");
    if (++calls != which) {
        return false;
    }
    failed = name;
    errno = static_cast<int>(with);
    return true;
}

template <class F>
F* real(F*, char const* name) {
    return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

/// Tells in the end; what is called here is not counted any more.
struct teller {
    ~teller() {
        char const* const path = std::getenv("FPQ_FAIL_COUNT");
        long const made = calls;
        if (path == nullptr) {
            return;
        }
        if (std::FILE* const out = std::fopen(path, "w"); out != nullptr) {
            std::fprintf(out, "%ld %s %ld\n", made, failed, refused.load());
            std::fclose(out);
        }
    }
} const at_exit;

}  // namespace

#define FPQ_FAILS(result, name, parameters, arguments, value) \
    result name parameters {                                  \
        static auto* const next = real(&name, #name);         \
        return fails(#name) ? value : next arguments;         \
    }

// The C library declares some of these noexcept and others not; in C linkage both will do.
extern "C" {
FPQ_FAILS(ssize_t, write, (int fd, void const* p, size_t n), (fd, p, n), -1)
FPQ_FAILS(ssize_t, pwrite, (int fd, void const* p, size_t n, off_t at), (fd, p, n, at), -1)
FPQ_FAILS(ssize_t, read, (int fd, void* p, size_t n), (fd, p, n), -1)
FPQ_FAILS(ssize_t, pread, (int fd, void* p, size_t n, off_t at), (fd, p, n, at), -1)
FPQ_FAILS(int, fsync, (int fd), (fd), -1)
FPQ_FAILS(int, fdatasync, (int fd), (fd), -1)
FPQ_FAILS(int, close, (int fd), (fd), (next(fd), -1))
FPQ_FAILS(int, fallocate, (int fd, int how, off_t a, off_t n), (fd, how, a, n), -1)
FPQ_FAILS(int, ftruncate, (int fd, off_t n) noexcept, (fd, n), -1)
FPQ_FAILS(int, rename, (char const* a, char const* b) noexcept, (a, b), -1)
FPQ_FAILS(int, renameat2, (int d, char const* a, int e, char const* b, unsigned f) noexcept,
          (d, a, e, b, f), -1)
FPQ_FAILS(int, link, (char const* a, char const* b) noexcept, (a, b), -1)
FPQ_FAILS(int, unlink, (char const* a) noexcept, (a), -1)
FPQ_FAILS(int, unlinkat, (int d, char const* a, int f) noexcept, (d, a, f), -1)
FPQ_FAILS(int, rmdir, (char const* a) noexcept, (a), -1)
FPQ_FAILS(int, mkdir, (char const* a, mode_t m) noexcept, (a, m), -1)
FPQ_FAILS(int, stat, (char const* a, struct stat* b) noexcept, (a, b), -1)
FPQ_FAILS(int, lstat, (char const* a, struct stat* b) noexcept, (a, b), -1)
FPQ_FAILS(int, fstat, (int fd, struct stat* b) noexcept, (fd, b), -1)
FPQ_FAILS(dirent*, readdir, (DIR * d), (d), nullptr)
FPQ_FAILS(int, flock, (int fd, int how) noexcept, (fd, how), -1)
FPQ_FAILS(void*, mmap, (void* p, size_t n, int a, int b, int fd, off_t at) noexcept,
          (p, n, a, b, fd, at), MAP_FAILED)

int pthread_create(pthread_t* thread, pthread_attr_t const* how, void* (*body)(void*),
                   void* argument) noexcept {
    static auto* const next = real(&pthread_create, "pthread_create");
    static long const first = number("FPQ_FAIL_THREADS");
    if (++threads >= first && first != 0) {
        ++refused;
        return EAGAIN;
    }
    return next(thread, how, body, argument);
}
int open(char const* path, int flags, ...) {
    static auto* const next = real(&open, "open");
    va_list more;
    va_start(more, flags);
    mode_t const mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails("open") ? -1 : next(path, flags, mode);
}
int openat(int directory, char const* path, int flags, ...) {
    static auto* const next = real(&openat, "openat");
    va_list more;
    va_start(more, flags);
    mode_t const mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    return fails("openat") ? -1 : next(directory, path, flags, mode);
}
}
