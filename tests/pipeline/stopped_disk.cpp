// SPDX-License-Identifier: Apache-2.0
// The C library's calls on files, in its place for this program and the C++ library: straight to
// the kernel, but for what on_disk_call stops. No header of the C library that declares them.
#include "pipeline/stopped_disk.hpp"

#include <linux/fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdarg>

// NOLINTBEGIN(cert-dcl50-cpp,cppcoreguidelines-pro-type-vararg): as the C library has them

extern "C" long syscall(long number, ...) noexcept;

namespace fpq_test {
bool (*on_disk_call)(disk_call call) = nullptr;
}

namespace {

using fpq_test::disk_call;

template <class... Args>
int pass(disk_call call, long number, Args... args) noexcept {
    if (fpq_test::on_disk_call != nullptr && !fpq_test::on_disk_call(call)) {
        errno = EIO;
        return -1;
    }
    return static_cast<int>(::syscall(number, args...));
}

}  // namespace

extern "C" {

int open(char const* path, int flags, ...) {
    std::va_list rest;
    va_start(rest, flags);
    unsigned const mode = (flags & O_CREAT) != 0 ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    return pass(disk_call::open, SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t pwrite(int fd, void const* bytes, size_t size, off_t offset) {
    if (fpq_test::on_disk_call != nullptr && !fpq_test::on_disk_call(disk_call::change)) {
        errno = EIO;
        return -1;
    }
    return ::syscall(SYS_pwrite64, fd, bytes, size, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t size) {
    return pass(disk_call::change, SYS_fallocate, fd, mode, offset, size);
}
int ftruncate(int fd, off_t size) noexcept {
    return pass(disk_call::change, SYS_ftruncate, fd, size);
}
int fsync(int fd) { return pass(disk_call::flush, SYS_fsync, fd); }
int fdatasync(int fd) { return pass(disk_call::change, SYS_fdatasync, fd); }

int rename(char const* from, char const* to) noexcept {
    return pass(disk_call::change, SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int mkdir(char const* path, mode_t mode) noexcept {
    return pass(disk_call::change, SYS_mkdirat, AT_FDCWD, path, mode);
}
int unlinkat(int at, char const* path, int flags) noexcept {
    return pass(disk_call::change, SYS_unlinkat, at, path, flags);
}
int unlink(char const* path) noexcept { return ::unlinkat(AT_FDCWD, path, 0); }
int rmdir(char const* path) noexcept { return ::unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(char const* path) noexcept {
    int const done = ::unlink(path);
    return done != 0 && errno == EISDIR ? ::rmdir(path) : done;
}

}  // extern "C"

// NOLINTEND(cert-dcl50-cpp,cppcoreguidelines-pro-type-vararg)
