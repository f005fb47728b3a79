// SPDX-License-Identifier: Apache-2.0
// Floor 5. Memory that lies in a file without a name: the system may write it there whenever memory
// is short, and nothing of it is left when the process ends, however it ends.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

/// `size` bytes, zero at first, in the directory for temporary files (TMPDIR, else /tmp), reserved
/// there: a full disk is found now, not later. Move only. Throws fpq::error (input) naming the
/// directory.
class scratch_memory {
public:
    scratch_memory() = default;
    explicit scratch_memory(std::size_t size) : size_(size) {
        std::error_code none;
        std::filesystem::path const directory = std::filesystem::temp_directory_path(none);
        if (none) {
            fail_input("no directory for temporary files", "TMPDIR", "a directory", none.message());
        }
        std::string name = (directory / "fpq-scratch-XXXXXX").string();
        detail::unique_fd const fd(::mkostemp(name.data(), O_CLOEXEC));
        if (!fd) {
            detail::fail_write("cannot create", name, errno);
        }
        ::unlink(name.c_str());
        detail::reserve_file(fd.get(), size, directory);
        void* const fresh = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
        if (fresh == MAP_FAILED) {
            detail::fail_write("cannot map a file of", directory, errno);
        }
        data_ = static_cast<std::byte*>(fresh);
    }
    scratch_memory(scratch_memory&& o) noexcept
        : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
    scratch_memory& operator=(scratch_memory&& o) noexcept {
        std::swap(data_, o.data_);
        std::swap(size_, o.size_);
        return *this;
    }
    ~scratch_memory() {
        if (data_ != nullptr) {
            ::munmap(data_, size_);
        }
    }
    [[nodiscard]] std::byte* data() const noexcept { return data_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fpq
