// SPDX-License-Identifier: Apache-2.0
// Tests of io/file/whole_file.hpp, output_place.hpp and staging_directory.hpp: what lies where
// something is to be written.
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
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
#include "support/files.hpp"

using fpq_test::read_text;
using fpq_test::temporary_directory;

namespace {
int lock_fault = 0;  // errno of every flock; 0: none
}

/// In the place of the C library's: a file system without locks at will.
extern "C" int flock(int fd, int operation) noexcept {
    if (lock_fault != 0) {
        errno = lock_fault;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_flock, fd, operation));
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

TEST_CASE("a file system without locks is refused by name beforehand, and nothing is left",
          "[io]") {
    temporary_directory const dir;
    std::filesystem::create_directory(dir.path() / "there");
    for (int const fault : {ENOLCK, EOPNOTSUPP, ENOSYS}) {
        for (char const* const name : {"there", "new", "below/new"}) {
            lock_fault = fault;
            std::string looked;
            std::string made;
            try {
                (void)fpq::check_output_directory(dir.path() / name, {});
            } catch (fpq::error const& e) {
                looked = e.what();
            }
            try {
                fpq::staging_directory const staging(dir.path() / name);
            } catch (fpq::error const& e) {
                made = e.what();
            }
            lock_fault = 0;
            CHECK_THAT(looked, Catch::Contains("cannot lock: " + (dir.path() / name).string()) &&
                                   Catch::Contains("a file system with locks"));
            CHECK_THAT(made, Catch::Contains("a file system with locks"));
        }
    }
    CHECK(std::filesystem::is_empty(dir.path() / "there"));
    std::filesystem::remove(dir.path() / "there");
    CHECK(std::filesystem::is_empty(dir.path()));
}

TEST_CASE("a run that was killed right behind its rename is known as finished", "[io]") {
    temporary_directory const dir;
    std::filesystem::path const out = dir.path() / "out";
    std::filesystem::create_directory(out);
    fpq_test::write_text(out / "config.json", "{}");
    fpq_test::write_text(out / fpq::staging_journal_name, "{\"begin\":1}\n{\"verified\":2}\n");
    fpq::staging_directory const next(out);
    REQUIRE(next.finished_move().size() == 2);
    CHECK(next.finished_move().back().contains("verified"));
    CHECK_FALSE(std::filesystem::exists(out / fpq::staging_journal_name));
    CHECK(std::filesystem::exists(out / "config.json"));
}

TEST_CASE("work that began when the target was not there goes on when it is", "[io]") {
    temporary_directory const dir;
    std::filesystem::path const target = dir.path() / "out";
    {
        fpq::staging_directory first(target);
        fpq_test::write_text(first.path() / "a", "written");
        first.journal().add({{"begin", 1}});
        first.keep();
    }
    std::filesystem::create_directory(target);
    CHECK(fpq::staging_path(target) == dir.path() / "out.partial");
    {
        fpq::staging_directory second(target);
        CHECK(second.has_leftover());
        CHECK(second.path() == dir.path() / "out.partial");
        CHECK_THROWS_WITH(fpq::staging_directory(target), Catch::Contains("in use"));
        second.publish({}, [](std::string const&) { return false; });
    }
    CHECK(read_text(target / "a") == "written");
    CHECK_FALSE(std::filesystem::exists(dir.path() / "out.partial"));
    // Somebody else's directory of that name has nothing to do with it.
    std::filesystem::create_directory(dir.path() / "out.partial");
    fpq_test::write_text(dir.path() / "out.partial" / "theirs", "");
    CHECK(fpq::staging_path(target) == target / ".fpq-partial");
}
