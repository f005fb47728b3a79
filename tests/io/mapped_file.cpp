// SPDX-License-Identifier: Apache-2.0
// What a mapped file takes of memory while it is walked.
#include "fpq/io/file/mapped_file.hpp"

#include <cstddef>
#include <fstream>
#include <string>

#include "catch.hpp"
#include "support/files.hpp"

namespace {

/// Resident KiB of the mapping of a file, as Linux tells; -1 where it does not.
long resident_kib(std::string const& file) {
    std::ifstream maps("/proc/self/smaps");
    bool inside = false;
    for (std::string line; std::getline(maps, line);) {
        if (line.ends_with(file)) {
            inside = true;
        } else if (inside && line.starts_with("Rss:")) {
            return std::stol(line.substr(4));
        }
    }
    return -1;
}

}  // namespace

TEST_CASE("pages of pieces of any size are given back as they are done with", "[io]") {
    fpq_test::temporary_directory const dir;
    std::filesystem::path const path = dir.path() / "bytes";
    fpq_test::write_text(path, std::string(std::size_t{16} << 20, 'x'));
    for (std::size_t const piece :
         {std::size_t{5000}, std::size_t{100'000}, std::size_t{1} << 20}) {
        fpq::mapped_file const file(path);
        std::size_t seen = 0;
        for (std::size_t at = 0; at + piece <= file.bytes().size(); at += piece) {
            std::span<std::byte const> const part = file.bytes().subspan(at, piece);
            for (std::byte const b : part) {
                seen += b == std::byte{'x'} ? 1 : 0;
            }
            file.release(part);
        }
        CHECK(seen == file.bytes().size() / piece * piece);
        CHECK(resident_kib("/bytes") < 2048 + 64);
    }
}
