// SPDX-License-Identifier: Apache-2.0
// Tests of io/safetensors/checkpoint_writer.hpp, shard_plan.hpp and staging_directory.hpp: layout
// of the bytes, atomic appearance, and what stays behind after every way to fail (nothing).
#include "fpq/io/safetensors/checkpoint_writer.hpp"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "fpq/io/file/whole_file.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "support/tiny_checkpoint.hpp"

using fpq::checkpoint_writer;
using fpq::dtype;
using fpq::tensor_plan;
using fpq_test::read_text;
using fpq_test::temporary_directory;

namespace {

constexpr std::uint64_t large = 1'000'000'000;

std::vector<tensor_plan> small_plan() {
    return {{"b", dtype::bf16, {2, 2}, ""},
            {"a", dtype::bf16, {1}, ""},
            {"s", dtype::f32, {}, ""},
            {"q", dtype::u8, {3}, ""}};
}

std::vector<std::byte> bytes_of(std::string const& text) {
    auto const raw = std::as_bytes(std::span(text));
    return {raw.begin(), raw.end()};
}

void fill(checkpoint_writer& out, std::vector<tensor_plan> const& plan, char first = 'a') {
    for (tensor_plan const& t : plan) {
        out.write(t.name, bytes_of(std::string(t.byte_count(), first++)));
    }
}

std::set<std::string> files_in(std::filesystem::path const& dir) {
    std::set<std::string> out;
    for (auto const& entry : std::filesystem::directory_iterator(dir)) {
        out.insert(entry.path().filename().string());
    }
    return out;
}

using names = std::set<std::string>;

}  // namespace

TEST_CASE("a written file is byte for byte what the reference writer makes", "[io]") {
    temporary_directory dir;
    checkpoint_writer out(dir.path() / "m", small_plan(), large);
    CHECK(files_in(dir.path()).size() == 1);
    CHECK_FALSE(std::filesystem::exists(dir.path() / "m"));
    fill(out, small_plan());
    out.add_json("config.json", {{"model_type", "llama"}});
    out.finish();
    std::string const header = R"({"__metadata__":{"format":"pt"},)"
                               R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                               R"("a":{"dtype":"BF16","shape":[1],"data_offsets":[4,6]},)"
                               R"("b":{"dtype":"BF16","shape":[2,2],"data_offsets":[6,14]},)"
                               R"("q":{"dtype":"U8","shape":[3],"data_offsets":[14,17]}})";
    std::string const padded = header + std::string((8 - header.size() % 8) % 8, ' ');
    CHECK(read_text(dir.path() / "m" / "model.safetensors") ==
          fpq_test::safetensors_bytes(padded, "ccccbbaaaaaaaaddd"));
    CHECK(files_in(dir.path()) == names{"m"});
    CHECK(files_in(dir.path() / "m") == names{"config.json", "model.safetensors"});
    CHECK(read_text(dir.path() / "m" / "config.json") == "{\n  \"model_type\": \"llama\"\n}\n");
}

TEST_CASE("groups stay in one shard and the index knows where", "[io]") {
    temporary_directory dir;
    std::vector<tensor_plan> plan;
    for (int i = 0; i < 6; ++i) {
        std::string const group = i < 3 ? "g" : "h";
        plan.push_back({"t" + std::to_string(5 - i), dtype::u8, {40}, group});
    }
    plan.push_back({"alone", dtype::u8, {100}, ""});
    checkpoint_writer out(dir.path() / "m", plan, 130);
    REQUIRE(out.shards().size() == 3);
    fill(out, plan);
    out.add_json("config.json", nlohmann::json::object());
    out.finish();
    fpq::checkpoint const read(dir.path() / "m");
    CHECK(read.names() == std::vector<std::string>{"t3", "t4", "t5", "t0", "t1", "t2", "alone"});
    CHECK(read.at("t0").file->filename() == "model-00002-of-00003.safetensors");
    CHECK(read.index().at("metadata").at("total_size") == 340);
    CHECK(read.total_bytes() == 340);
    CHECK(std::filesystem::file_size(*read.at("alone").file) == out.shards()[2].size);
    CHECK(std::to_integer<char>(read.at("alone").bytes[0]) == 'g');
}

TEST_CASE("a large tensor arrives whole, piece by piece", "[io]") {
    temporary_directory dir;
    std::size_t const size = (std::size_t{40} << 20) + 3;
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::byte>((i * 2654435761u) >> 13);
    }
    std::size_t seen = 0;
    {
        checkpoint_writer out(dir.path() / "m", {{"q", dtype::u8, {size}, ""}}, large);
        out.write("q", bytes, [&](std::span<std::byte const> piece) {
            CHECK(piece.data() == bytes.data() + seen);
            seen += piece.size();
        });
        out.add_file("config.json", bytes_of("{}"));
        out.finish();
    }
    CHECK(seen == size);
    fpq::checkpoint const read(dir.path() / "m");
    std::span<std::byte const> const back = read.at("q").bytes;
    CHECK(std::equal(back.begin(), back.end(), bytes.begin(), bytes.end()));
}

TEST_CASE("threads write tensors in any order", "[io]") {
    temporary_directory dir;
    std::vector<tensor_plan> plan;
    for (int i = 0; i < 64; ++i) {
        plan.push_back({"t" + std::to_string(i), dtype::u8, {5000}, ""});
    }
    checkpoint_writer out(dir.path() / "m", plan, 100'000);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t i = plan.size(); i-- > 0;) {
                if (i % 4 == t) {
                    out.write(plan[i].name,
                              bytes_of(std::string(5000, static_cast<char>(' ' + i))));
                }
            }
        });
    }
    for (std::thread& t : threads) {
        t.join();
    }
    out.add_json("config.json", nlohmann::json::object());
    out.finish();
    fpq::checkpoint const read(dir.path() / "m");
    for (std::size_t i = 0; i < plan.size(); ++i) {
        CHECK(std::to_integer<std::size_t>(read.at(plan[i].name).bytes[4999]) == ' ' + i);
    }
}

TEST_CASE("what does not follow the plan is refused and nothing remains", "[io]") {
    temporary_directory dir;
    CHECK_THROWS_WITH(checkpoint_writer(dir.path() / "m",
                                        {{"a", dtype::u8, {1}, ""}, {"a", dtype::u8, {1}, ""}}, 1),
                      Catch::Contains("tensor 'a'"));
    CHECK_THROWS_WITH(checkpoint_writer(dir.path() / "m", {{"a", dtype::f4, {1}, ""}}, 1),
                      Catch::Contains("whole number of bytes"));
    {
        checkpoint_writer out(dir.path() / "deep" / "er" / "m", small_plan(), large);
        CHECK_THROWS_WITH(out.write("nope", {}), Catch::Contains("unplanned tensor"));
        CHECK_THROWS_WITH(out.write("q", bytes_of("12")), Catch::Contains("expected 3 bytes"));
        out.write("q", bytes_of("123"));
        CHECK_THROWS_WITH(out.write("q", bytes_of("123")), Catch::Contains("twice"));
        CHECK_THROWS_WITH(out.write({"a", dtype::f16, {1}, bytes_of("12")}),
                          Catch::Contains("expected BF16 [1], found F16 [1]"));
        CHECK_THROWS_WITH(out.finish(), Catch::Contains("tensor 'b'"));
        out.add_json("a.json", 1);
        CHECK_THROWS(out.add_json("a.json", 1));
        CHECK_THROWS(out.add_json("../a.json", 1));
        CHECK_THROWS(out.add_json("model.safetensors", 1));
        CHECK_THROWS(out.copy_file(dir.path() / "absent", "b.json"));
    }
    CHECK(files_in(dir.path()).empty());
}

TEST_CASE("a target with files keeps strangers and loses the old generation", "[io]") {
    temporary_directory dir;
    std::filesystem::path const at = dir.path() / "m";
    fpq_test::tiny_checkpoint_options old;
    old.shards = 2;
    fpq_test::make_tiny_checkpoint(at, old);
    fpq_test::write_text(at / "notes.txt", "mine");
    fpq_test::write_text(at / "hf_quant_config.json", "{}");
    {
        checkpoint_writer out(at, small_plan(), large);
        fill(out, small_plan());
    }
    CHECK(fpq::checkpoint(at).contains("model.norm.weight"));  // untouched until finish
    checkpoint_writer out(at, small_plan(), large);
    fill(out, small_plan());
    out.add_json("config.json", {{"new", true}});
    out.finish();
    CHECK(files_in(at) ==
          names{"config.json", "generation_config.json", "model.safetensors", "notes.txt"});
    fpq::checkpoint const read(at);
    CHECK(read.contains("q"));
    CHECK(read.config().contains("new"));
    CHECK(files_in(dir.path()) == names{"m"});
}

TEST_CASE("an empty target, a trailing slash and a link to a directory all work", "[io]") {
    temporary_directory dir;
    std::filesystem::create_directory(dir.path() / "m");
    std::filesystem::create_directory_symlink(dir.path() / "m", dir.path() / "link");
    for (std::string const name : {"m/", "link"}) {
        checkpoint_writer out(dir.path() / name, small_plan(), large);
        fill(out, small_plan());
        out.add_json("config.json", nlohmann::json::object());
        out.finish();
        CHECK(files_in(dir.path() / "m").size() == 2);
        CHECK(files_in(dir.path()) == names{"link", "m"});
    }
}

TEST_CASE("an output directory that cannot be made is refused in one line", "[io]") {
    temporary_directory dir;
    fpq_test::write_text(dir.path() / "file", "x");
    for (std::filesystem::path const& bad :
         {dir.path() / "file", dir.path() / "file" / "m", std::filesystem::path("/proc/nope/m")}) {
        INFO(bad);
        try {
            checkpoint_writer const out(bad, small_plan(), large);
            FAIL("accepted");
        } catch (fpq::error const& why) {
            CHECK(why.category() == fpq::error_category::input);
            CHECK(std::string(why.what()).find('\n') == std::string::npos);
        }
    }
    CHECK(files_in(dir.path()) == names{"file"});
}

TEST_CASE("the output is never the input", "[io]") {
    temporary_directory dir;
    std::filesystem::create_directory(dir.path() / "m");
    CHECK_THROWS_WITH(fpq::require_distinct(dir.path() / "m", dir.path() / "." / "m"),
                      Catch::Contains("output is the input"));
    CHECK_NOTHROW(fpq::require_distinct(dir.path() / "m", dir.path() / "n"));
}

TEST_CASE("space is asked for before anything is written", "[io]") {
    temporary_directory dir;
    CHECK_NOTHROW(fpq::require_space(dir.path() / "not" / "yet", 1));
    CHECK_THROWS_WITH(fpq::require_space(dir.path() / "m", std::uint64_t{1} << 62),
                      Catch::Contains("not enough space"));
    CHECK_THROWS_WITH(
        checkpoint_writer(dir.path() / "m", {{"a", dtype::u8, {std::uint64_t{1} << 60}, ""}}, 1),
        Catch::Contains("not enough space"));
    CHECK(files_in(dir.path()).empty());
}

TEST_CASE("a file that cannot grow ends in one line and nothing remains", "[io]") {
    temporary_directory dir;
    ::pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        ::signal(SIGXFSZ, SIG_IGN);
        rlimit const limit{100'000, 100'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        int code = 1;
        try {
            checkpoint_writer out(dir.path() / "m", {{"a", dtype::u8, {1'000'000}, ""}}, large);
        } catch (fpq::error const& why) {
            code = why.exit_code() == 3 && files_in(dir.path()).empty() ? 42 : 2;
        }
        ::_exit(code);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 42);
}

TEST_CASE("a disk that fills up while writing ends in one line and nothing remains", "[io]") {
    temporary_directory dir;
    if (::mount("none", dir.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
        std::puts("SKIPPED: a disk that fills up (no right to mount a tmpfs)");
        return;
    }
    {
        std::vector<tensor_plan> const plan{{"a", dtype::u8, {600'000}, ""}};
        checkpoint_writer out(dir.path() / "m", plan, large);
        out.write("a", bytes_of(std::string(600'000, 'a')));
        CHECK_THROWS_WITH(out.add_file("big.bin", bytes_of(std::string(600'000, 'b'))),
                          Catch::Contains("cannot write") && Catch::Contains("No space left"));
        CHECK_THROWS_WITH(checkpoint_writer(dir.path() / "n", plan, large),
                          Catch::Contains("not enough space"));
    }
    CHECK(files_in(dir.path()).empty());
    ::umount(dir.path().c_str());
}

TEST_CASE("a killed writer leaves nothing that looks finished, and the next run cleans up",
          "[io]") {
    temporary_directory dir;
    int ready[2];
    REQUIRE(::pipe(ready) == 0);
    ::pid_t const child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        checkpoint_writer out(dir.path() / "m", small_plan(), large);
        out.write("q", bytes_of("123"));
        out.add_json("config.json", 1);
        char const byte = 'r';
        if (::write(ready[1], &byte, 1) == 1) {
            ::pause();
        }
        ::_exit(1);
    }
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    CHECK_THROWS_WITH(checkpoint_writer(dir.path() / "m", small_plan(), large),
                      Catch::Contains("in use") && Catch::Contains("another run"));
    CHECK(files_in(dir.path() / "m.partial").contains("config.json"));  // the living one's
    std::filesystem::create_directory(dir.path() / "m");
    CHECK_THROWS_WITH(checkpoint_writer(dir.path() / "m", small_plan(), large),
                      Catch::Contains("in use"));
    std::filesystem::remove(dir.path() / "m");
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    ::close(ready[0]);
    ::close(ready[1]);
    CHECK_FALSE(std::filesystem::exists(dir.path() / "m"));
    CHECK(files_in(dir.path()) == names{"m.partial"});
    std::filesystem::create_directory(dir.path() / "m.partial-other");  // not ours to remove
    checkpoint_writer out(dir.path() / "m", small_plan(), large);
    CHECK_FALSE(out.resumed());
    fill(out, small_plan());
    out.finish();
    CHECK(files_in(dir.path()) == names{"m", "m.partial-other"});
}

TEST_CASE("two writers of one process for one target do not mix", "[io]") {
    temporary_directory dir;
    checkpoint_writer first(dir.path() / "m", small_plan(), large);
    CHECK_THROWS_WITH(checkpoint_writer(dir.path() / "m", small_plan(), large),
                      Catch::Contains("in use"));
    fill(first, small_plan());
    CHECK_NOTHROW(first.finish());
}

TEST_CASE("a run that goes on leaves whole files of the earlier one where they are", "[io]") {
    temporary_directory dir;
    auto const go_on = [](fpq::staging_directory&) { return true; };
    std::filesystem::path const config = dir.path() / "m.partial" / "config.json";
    struct stat before {};
    {
        checkpoint_writer first(dir.path() / "m", small_plan(), large);
        first.add_json("config.json", {{"a", 1}});
        first.staging().keep();
        REQUIRE(::stat(config.c_str(), &before) == 0);
    }
    struct stat after {};
    {
        checkpoint_writer second(dir.path() / "m", small_plan(), large, go_on);
        REQUIRE(second.resumed());
        second.add_json("config.json", {{"a", 1}});
        REQUIRE(::stat(config.c_str(), &after) == 0);
        CHECK(after.st_ino == before.st_ino);
        CHECK(after.st_mtim.tv_nsec == before.st_mtim.tv_nsec);
    }
    checkpoint_writer third(dir.path() / "m", small_plan(), large, go_on);
    third.add_json("config.json", {{"a", 2}});  // another: it is written
    CHECK(read_text(config).find('2') != std::string::npos);
}

TEST_CASE("a result that cannot take its final name is kept, and the error says where", "[io]") {
    temporary_directory dir;
    {
        checkpoint_writer out(dir.path() / "m", small_plan(), large);
        fill(out, small_plan());
        fpq_test::write_text(dir.path() / "m", "in the way since the run began");
        CHECK_THROWS_WITH(out.finish(), Catch::Contains("whole result lies in") &&
                                            Catch::Contains((dir.path() / "m.partial").string()));
    }
    REQUIRE(std::filesystem::exists(dir.path() / "m.partial"));
    CHECK(files_in(dir.path() / "m.partial").contains("model.safetensors"));
}

TEST_CASE("what somebody else put under the name of the partial result stays", "[io]") {
    temporary_directory dir;
    std::filesystem::create_directory(dir.path() / "m.partial");
    fpq_test::write_text(dir.path() / "m.partial" / "mine", "x");
    CHECK_THROWS_WITH(checkpoint_writer(dir.path() / "m", small_plan(), large),
                      Catch::Contains("directory in the way"));
    CHECK(files_in(dir.path() / "m.partial") == names{"mine"});
}

TEST_CASE("places that can never be an output directory are refused, and nothing is made", "[io]") {
    temporary_directory dir;
    std::filesystem::create_symlink(dir.path() / "nowhere", dir.path() / "dangling");
    std::filesystem::create_symlink(dir.path() / "loop2", dir.path() / "loop");
    std::filesystem::create_symlink(dir.path() / "loop", dir.path() / "loop2");
    std::filesystem::create_directories(dir.path() / "out" / "model.safetensors");
    std::vector<std::string> const files{"config.json", "model.safetensors"};
    auto const before = files_in(dir.path());
    CHECK_THROWS_WITH(fpq::check_output_directory(dir.path() / "dangling", files),
                      Catch::Contains("link to nothing"));
    CHECK_THROWS_WITH(fpq::check_output_directory(dir.path() / "loop", files),
                      Catch::Contains("loop of links"));
    CHECK_THROWS_WITH(fpq::check_output_directory(dir.path() / "out", files),
                      Catch::Contains("model.safetensors") && Catch::Contains("a directory"));
    CHECK_NOTHROW(fpq::check_output_directory(dir.path() / "not" / ".." / "yet", files));
    CHECK(fpq::find_output_place(dir.path() / "not" / ".." / "yet").directory ==
          std::filesystem::canonical(dir.path()) / "yet");
    CHECK(files_in(dir.path()) == before);
}

namespace {

/// A whole new checkpoint staged inside of `at`, and its move cut short after `steps` changes of
/// `at`, as a kill would cut it.
void cut_move_short(std::filesystem::path const& at, std::size_t steps) {
    std::filesystem::path const staging = at / ".fpq-partial";
    std::vector<std::string> const order{"generation_config.json", "model.safetensors",
                                         "config.json"};
    {
        fpq::staging_directory place(at);
        place.keep();
        place.journal().add({{"begin", 1}});
        for (std::string const& name : order) {
            fpq_test::write_text(staging / name, "new " + name);
        }
        place.journal().add(
            {{"move",
              {{"remove",
                {"config.json", "model.safetensors.index.json", "model-00001.safetensors"}},
               {"names", order}}}});
    }
    for (char const* const gone :
         {"config.json", "model.safetensors.index.json", "model-00001.safetensors"}) {
        if (steps > 0) {
            --steps;
            std::filesystem::remove(at / gone);
        }
    }
    for (std::string const& name : order) {
        if (steps > 0) {
            --steps;
            std::filesystem::rename(staging / name, at / name);
        }
    }
}

}  // namespace

TEST_CASE("a move that was cut short loads as the old, the new or not at all, and is finished",
          "[io]") {
    for (std::size_t steps = 0; steps <= 6; ++steps) {
        temporary_directory dir;
        std::filesystem::path const at = dir.path() / "m";
        std::filesystem::create_directory(at);
        for (char const* const old : {"config.json", "model.safetensors.index.json",
                                      "model-00001.safetensors", "notes.txt"}) {
            fpq_test::write_text(at / old, "old");
        }
        cut_move_short(at, steps);
        bool const loads = std::filesystem::exists(at / "config.json");
        bool const is_new = loads && read_text(at / "config.json") != "old";
        CHECK(loads == (steps == 0 || steps == 6));
        CHECK(is_new == (steps == 6));
        {
            fpq::staging_directory next(at);
            CHECK(next.finished_move().size() == 2);
            CHECK(next.finished_move().front().contains("begin"));
            CHECK_FALSE(next.has_leftover());
        }
        CHECK(files_in(at) ==
              names{"config.json", "generation_config.json", "model.safetensors", "notes.txt"});
        for (char const* const name : {"config.json", "model.safetensors"}) {
            CHECK(read_text(at / name) == std::string("new ") + name);
        }
    }
}

TEST_CASE("a journal's torn last line does not count and is overwritten", "[io]") {
    temporary_directory dir;
    std::filesystem::path const at = dir.path() / "j";
    {
        fpq::journal_file journal(at);
        journal.add({{"a", 1}});
        journal.add({{"b", 2}});
    }
    std::string const whole = read_text(at);
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        fpq_test::write_text(at, whole.substr(0, size));
        fpq::journal_file journal(at);
        std::size_t const lines = size == whole.size() ? 2 : size >= 8 ? 1 : 0;
        REQUIRE(journal.lines().size() == lines);
        REQUIRE((journal.find("b") != nullptr) == (lines == 2));
        journal.add({{"c", 3}});
        REQUIRE(fpq::journal_file(at).lines().size() == lines + 1);
    }
}

TEST_CASE("a small file replaces a file, follows a link, and never a device, a pipe or a directory",
          "[io]") {
    temporary_directory dir;
    fpq_test::write_text(dir.path() / "file", "old");
    std::filesystem::create_symlink("file", dir.path() / "link");
    REQUIRE(::mkfifo((dir.path() / "pipe").c_str(), 0600) == 0);
    std::filesystem::create_symlink("/dev/null", dir.path() / "device");
    std::filesystem::create_directory(dir.path() / "directory");
    fpq::write_file_whole(dir.path() / "link", "new");
    CHECK(std::filesystem::is_symlink(dir.path() / "link"));
    CHECK(read_text(dir.path() / "file") == "new");
    for (char const* const name : {"pipe", "device", "directory"}) {
        CHECK_THROWS_WITH(fpq::write_file_whole(dir.path() / name, "x"),
                          Catch::Contains("cannot write"));
        CHECK_THROWS_WITH(fpq::require_writable_file(dir.path() / name, 1),
                          Catch::Contains("cannot write"));
    }
    CHECK(std::filesystem::is_fifo(dir.path() / "pipe"));
    CHECK(std::filesystem::is_symlink(dir.path() / "device"));
    CHECK(files_in(dir.path()) == names{"device", "directory", "file", "link", "pipe"});
}
