// SPDX-License-Identifier: Apache-2.0
// Tests of io/file/whole_file.hpp, output_place.hpp and staging_directory.hpp: what lies where
// something is to be written.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/output_place.hpp"
#include "fpq/io/file/staging_directory.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "support/tiny_checkpoint.hpp"

using fpq_test::read_text;
using fpq_test::temporary_directory;

TEST_CASE("a pipe is written to, not replaced, and one that nobody reads is an error", "[io]") {
    temporary_directory const dir;
    std::filesystem::path const pipe = dir.path() / "pipe";
    REQUIRE(::mkfifo(pipe.c_str(), 0666) == 0);
    CHECK_NOTHROW(fpq::require_writable_file(pipe, 1));
    CHECK_THROWS_WITH(fpq::write_file_whole(pipe, "x"), Catch::Contains("cannot write"));
    fpq::detail::unique_fd const reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK));
    fpq::write_file_whole(pipe, "report");
    std::array<char, 16> got{};
    CHECK(::read(reader.get(), got.data(), got.size()) == 6);
    CHECK(std::string(got.data()) == "report");
    CHECK(std::filesystem::is_fifo(pipe));
}

TEST_CASE("a standard stream is written to behind what was printed, also when it is a file",
          "[io]") {
    temporary_directory const dir;
    std::filesystem::path const log = dir.path() / "log";
    std::filesystem::path const stream = dir.path() / "stdout";  // as /dev/stdout is one
    std::filesystem::create_symlink("/proc/self/fd/1", stream);
    std::fflush(stdout);
    fpq::detail::unique_fd const before(::dup(1));
    {
        fpq::detail::unique_fd const file(::open(log.c_str(), O_RDWR | O_CREAT, 0666));
        REQUIRE(::dup2(file.get(), 1) == 1);
    }
    std::fputs("before ", stdout);
    fpq::write_file_whole(stream, "report");
    std::fputs(" after", stdout);
    std::fflush(stdout);
    REQUIRE(::dup2(before.get(), 1) == 1);
    CHECK(read_text(log) == "before report after");
    CHECK(std::filesystem::is_symlink(stream));
}

TEST_CASE("a link stays a link: the file behind it is replaced", "[io]") {
    temporary_directory const dir;
    fpq_test::write_text(dir.path() / "file", "old");
    std::filesystem::create_symlink("file", dir.path() / "link");
    fpq::write_file_whole(dir.path() / "link", "new");
    CHECK(std::filesystem::is_symlink(dir.path() / "link"));
    CHECK(read_text(dir.path() / "file") == "new");
}

TEST_CASE("a file to be written among those that are read is refused, by every path", "[io]") {
    temporary_directory const dir;
    std::filesystem::path const model = dir.path() / "model";
    std::filesystem::create_directory(model);
    fpq_test::write_text(model / "config.json", "{}");
    std::filesystem::create_directory_symlink(model, dir.path() / "same");
    std::filesystem::create_symlink(model / "config.json", dir.path() / "report.json");
    for (std::filesystem::path const& file :
         {model / "new.json", dir.path() / "same" / "config.json", dir.path() / "report.json",
          model / ".." / "model" / "config.json"}) {
        INFO(file);
        CHECK_THROWS_WITH(fpq::require_outside("report", file, model),
                          Catch::StartsWith("report") && Catch::Contains("outside of the model"));
    }
    CHECK_NOTHROW(fpq::require_outside("report", dir.path() / "config.json", model));
}

TEST_CASE("what lies in the staging place is looked at beforehand", "[io]") {
    temporary_directory const dir;
    std::filesystem::path const partial = dir.path() / "out.partial";
    auto const refusal = [&](std::filesystem::path const& target) {
        std::string looked = "accepted";
        try {
            (void)fpq::check_output_directory(target, {});
        } catch (fpq::error const& e) {
            looked = e.what();
        }
        std::string made = "accepted";
        try {
            fpq::staging_directory const staging(target);
        } catch (fpq::error const& e) {
            made = e.what();
        }
        CHECK(looked == made);
        return looked;
    };
    fpq_test::write_text(partial, "x");
    CHECK_THAT(refusal(dir.path() / "out"),
               Catch::Contains("out.partial") && Catch::Contains("found a file"));
    CHECK(read_text(partial) == "x");
    std::filesystem::remove(partial);
    std::filesystem::create_symlink(dir.path() / "nowhere", partial);
    CHECK_THAT(refusal(dir.path() / "out"), Catch::Contains("a link to nothing"));
    std::filesystem::remove(partial);
    std::filesystem::create_directory(partial);
    fpq_test::write_text(partial / "mine", "x");
    CHECK_THAT(refusal(dir.path() / "out"), Catch::Contains("files of somebody else"));
    CHECK(read_text(partial / "mine") == "x");
    CHECK_THAT(refusal(dir.path() / std::string(252, 'n')), Catch::Contains("too long"));
    CHECK(refusal(dir.path() / std::string(247, 'n')) == "accepted");
    std::filesystem::create_directory(dir.path() / "there");
    fpq_test::write_text(dir.path() / "there" / ".fpq-partial", "x");
    CHECK_THAT(refusal(dir.path() / "there"), Catch::Contains(".fpq-partial"));
}

TEST_CASE("too little space is known beforehand; what an earlier run left counts as free", "[io]") {
    temporary_directory const dir;
    std::filesystem::space_info const space = std::filesystem::space(dir.path());
    std::uint64_t const much = std::uint64_t{1} << 60;
    REQUIRE(space.available < much);
    CHECK_THROWS_WITH(fpq::check_output_directory(dir.path() / "out", {}, much),
                      Catch::Contains("not enough space"));
    CHECK_NOTHROW(fpq::check_output_directory(dir.path() / "out", {}, 1));
    std::filesystem::create_directory(dir.path() / "left");
    fpq_test::write_text(dir.path() / "left" / "a", std::string(100'000, 'x'));
    CHECK(fpq::bytes_on_disk(dir.path() / "left") >= 100'000);
    CHECK(fpq::bytes_on_disk(dir.path() / "none") == 0);
}

TEST_CASE("what is cleared is known as ours until nothing of it is left", "[io]") {
    temporary_directory const dir;
    for (bool const cleared : {true, false}) {
        std::vector<std::string> gone;
        {
            std::optional<fpq::staging_directory> staging(std::in_place, dir.path() / "out");
            for (int i = 0; i < 20; ++i) {
                fpq_test::write_text(staging->path() / ("shard" + std::to_string(i)), "x");
            }
            fpq::detail::unique_fd const watch(::inotify_init1(IN_NONBLOCK));
            REQUIRE(::inotify_add_watch(watch.get(), staging->path().c_str(), IN_DELETE) >= 0);
            if (cleared) {
                staging->clear();
            } else {
                staging.reset();
            }
            alignas(inotify_event) std::array<char, 4096> events{};
            ::ssize_t const size = ::read(watch.get(), events.data(), events.size());
            for (::ssize_t at = 0; at < size;) {
                auto const* const e = reinterpret_cast<inotify_event const*>(&events[at]);
                if (e->len > 0) {
                    gone.emplace_back(e->name);
                }
                at += static_cast<::ssize_t>(sizeof *e + e->len);
            }
        }
        REQUIRE(gone.size() == 21);
        CHECK(gone.back() == fpq::staging_journal_name);
    }
}
