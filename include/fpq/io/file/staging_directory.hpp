// SPDX-License-Identifier: Apache-2.0
// Floor 5. Files that appear under their final names only when all of them are whole. They are
// written in a locked directory of their own, beside a target that is not there yet or inside of
// one that is, with a journal; work that began beside goes on there when the target has appeared; a
// run that was killed leaves it to the next, which continues it, finishes its move or removes it.
// docs/decisions/0010-resume-and-publishing.md says why.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/journal_file.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/file/output_place.hpp"
#include "fpq/io/json/json_text.hpp"

namespace fpq {

/// Where what becomes `target` is written; empty when `target` can never be one.
inline std::filesystem::path staging_path(std::filesystem::path const& target) {
    try {
        return find_output_place(target).staging();
    } catch (error const&) {
        return {};
    }
}

/// The locked directory of one target. publish() makes its files those of the target; without it
/// the destructor removes everything, unless keep() was called. Not thread-safe. Move nothing.
/// Errors: fpq::error (input): a target that cannot be one, one that another run is at work on, a
/// directory in the way that is not ours.
class staging_directory {
public:
    explicit staging_directory(std::filesystem::path const& target) {
        try {
            for (int tries = 0; !take(target); ++tries) {
                if (tries == 100) {
                    fail_in_use();
                }
            }
        } catch (...) {
            discard();
            throw;
        }
    }
    ~staging_directory() { discard(); }
    staging_directory(staging_directory const&) = delete;
    staging_directory& operator=(staging_directory const&) = delete;

    [[nodiscard]] std::filesystem::path const& path() const noexcept { return path_; }
    [[nodiscard]] std::filesystem::path const& target() const noexcept { return place_.directory; }
    [[nodiscard]] journal_file& journal() noexcept { return journal_; }

    /// True when an earlier run left its files here.
    [[nodiscard]] bool has_leftover() const noexcept { return leftover_; }
    /// The journal of an earlier run that was cut short while its files moved, or right behind;
    /// they have been moved now, and the target is whole. Empty: there was none.
    [[nodiscard]] std::vector<nlohmann::json> const& finished_move() const noexcept {
        return finished_move_;
    }
    /// Removes what an earlier run left.
    void clear() {
        remove_files();
        journal_ = journal_file(path_ / staging_journal_name);
        leftover_ = false;
        kept_ = false;
    }
    /// From now on the destructor leaves everything to the next run.
    void keep() noexcept { kept_ = true; }

    /// Makes the files those of the target. One that is absent appears by one rename. In one that
    /// is there, the old files named in `last` go first, then those that `is_stale` names, then the
    /// new files move, those of `last` in that order at the end: whenever it is cut short, no
    /// `last` file stands beside files of another generation, and the next run finishes the move.
    /// Nothing written is removed when it fails: the error says where the whole result lies.
    template <class IsStale>
    void publish(std::span<std::string const> last, IsStale is_stale) {
        sync_files(path_);
        detail::sync_directory(path_);
        keep();
        try {
            if (place_.exists) {
                move_inside(last, is_stale);
            } else if (::rename(path_.c_str(), place_.directory.c_str()) != 0) {
                detail::fail_write("cannot rename to", place_.directory, errno);
            }
        } catch (std::exception const& why) {
            fail_input(why.what(), place_.exists ? "the whole result lies in " + path_.string() +
                                                       " and, as far as it moved, in " +
                                                       place_.directory.string() +
                                                       "; the next run for it finishes the move"
                                                 : "the whole result lies in " + path_.string());
        }
        path_.clear();
        made_.clear();
        if (!place_.exists) {
            remove_journal_of_target();
        }
        // What is there is whole; that the names survive a power cut is all that is left.
        flush_quietly(place_.directory);
        flush_quietly(place_.directory.parent_path());
    }

private:
    [[noreturn]] void fail_in_use() const {
        fail_input("output directory is in use", place_.directory.string(), "no other run",
                   "another run at work in " + place_.staging().string());
    }

    static void sync_files(std::filesystem::path const& directory) {
        for (std::filesystem::path const& path : paths_in(directory)) {
            std::filesystem::file_status const found = look_at(path);
            if (std::filesystem::is_regular_file(found)) {
                detail::sync_path(path, O_RDONLY);
            } else if (std::filesystem::is_directory(found) && !is_link(path)) {
                sync_files(path);
            }
        }
    }

    static void flush_quietly(std::filesystem::path const& path) {
        try {
            detail::sync_directory(path);
        } catch (error const&) {
        }
    }

    void make_parents(std::filesystem::path const& parent) {
        std::vector<std::filesystem::path> missing;
        std::filesystem::path at = parent;
        std::error_code ignored;
        while (!std::filesystem::exists(at, ignored) && at.has_relative_path()) {
            missing.push_back(at);
            at = at.parent_path();
        }
        for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
            if (::mkdir(it->c_str(), 0777) == 0) {
                made_.push_back(*it);
            } else if (errno != EEXIST) {
                detail::fail_write("cannot create", *it, errno);
            }
        }
    }

    enum class lock_result { taken, held, gone };

    /// An exclusive lock on the directory at `path`, as long as it is still the one at that path.
    static lock_result lock(std::filesystem::path const& path, detail::unique_fd& out) {
        detail::unique_fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
                detail::fail_write("cannot open", path, errno);
            }
            return lock_result::gone;
        }
        try {
            if (!detail::try_lock(fd.get(), true, path)) {
                return lock_result::held;
            }
        } catch (error const&) {  // nobody can have one here
            ::rmdir(path.c_str());
            throw;
        }
        struct stat locked {};
        struct stat named {};
        if (::fstat(fd.get(), &locked) != 0 || ::stat(path.c_str(), &named) != 0 ||
            locked.st_ino != named.st_ino || locked.st_dev != named.st_dev) {
            return lock_result::gone;  // another run published or removed it meanwhile
        }
        out = std::move(fd);
        return lock_result::taken;
    }

    /// False: the place changed while it was looked at, look again.
    bool take(std::filesystem::path const& target) {
        place_ = find_output_place(target);
        if (place_.exists) {
            detail::unique_fd other;  // a run that began when the target was not there
            if (lock(place_.beside(), other) == lock_result::held) {
                fail_in_use();
            }
        } else {
            make_parents(place_.directory.parent_path());
        }
        require_staging(place_);
        std::filesystem::path const path = place_.staging();
        bool const fresh = ::mkdir(path.c_str(), 0777) == 0;
        if (!fresh && errno != EEXIST) {
            detail::fail_write("cannot create", path, errno);
        }
        fresh_ = fresh ? path : std::filesystem::path();
        switch (lock(path, lock_)) {
            case lock_result::gone:
                return false;
            case lock_result::held:
                fail_in_use();
            case lock_result::taken:
                break;
        }
        bool const empty = paths_in(path).empty();
        if (find_output_place(target).staging() != path) {
            if (empty) {
                ::rmdir(path.c_str());
            }
            lock_ = {};
            return false;  // another run published between the first look and the lock
        }
        require_ours(path);
        path_ = path;
        fresh_.clear();
        journal_ = journal_file(path_ / staging_journal_name);
        kept_ = !empty;  // until it is cleared or published, another run's work is not removed
        leftover_ = !empty;
        if (nlohmann::json const* const move = journal_.find("move")) {
            nlohmann::json const all = *move;
            finished_move_ = journal_.lines();
            finish_move(all);
            lock_ = {};
            path_.clear();
            return false;  // and now a new one
        }
        if (place_.exists) {
            take_journal_of_target();
        }
        return true;
    }

    /// One is there when a run was killed between the rename to the target and its last step.
    void take_journal_of_target() {
        std::filesystem::path const at = place_.directory / staging_journal_name;
        if (is_there(at)) {
            finished_move_ = journal_file(at, O_RDONLY).lines();
            remove_journal_of_target();
        }
    }

    void remove_journal_of_target() const {
        std::filesystem::path const at = place_.directory / staging_journal_name;
        if (::unlink(at.c_str()) != 0) {
            detail::fail_write(
                "the whole result lies in " + place_.directory.string() + ", but cannot remove", at,
                errno);
        }
    }

    template <class IsStale>
    void move_inside(std::span<std::string const> last, IsStale is_stale) {
        std::vector<std::string> names;
        for (std::filesystem::path const& path : paths_in(path_)) {
            std::string const name = path.filename().string();
            if (name != staging_journal_name) {
                names.push_back(name);
            }
        }
        auto const rank = [&last](std::string const& name) {
            auto const at = std::find(last.begin(), last.end(), name);
            return at == last.end() ? -1 : static_cast<int>(at - last.begin());
        };
        std::sort(names.begin(), names.end(), [&rank](auto const& a, auto const& b) {
            return rank(a) != rank(b) ? rank(a) < rank(b) : a < b;
        });
        std::vector<std::string> doomed(last.rbegin(), last.rend());
        for (std::filesystem::path const& path : paths_in(place_.directory)) {
            std::string const name = path.filename().string();
            bool const is_new = std::find(names.begin(), names.end(), name) != names.end();
            if (!is_new && is_stale(name) && rank(name) < 0 &&
                !std::filesystem::is_directory(look_at(path))) {
                doomed.push_back(name);
            }
        }
        nlohmann::json const move{
            {"move", {{"remove", json_names(doomed)}, {"names", json_names(names)}}}};
        journal_.add(move);
        finish_move(move.at("move"));
    }

    /// Every step may be done again: what moved already is no longer here.
    void finish_move(nlohmann::json const& move) {
        std::vector<std::string> const names = names_in(move.at("names"));
        std::vector<std::string> const doomed = names_in(move.at("remove"));
        for (std::string const& name : doomed) {
            bool const is_new = std::find(names.begin(), names.end(), name) != names.end();
            if (is_new && !is_there(path_ / name)) {
                continue;  // it is the new one
            }
            if (::unlink((place_.directory / name).c_str()) != 0 && errno != ENOENT) {
                detail::fail_write("cannot remove", place_.directory / name, errno);
            }
        }
        for (std::string const& name : names) {
            move_one(path_ / name, place_.directory / name);
        }
        std::filesystem::path const journal = path_ / staging_journal_name;
        if (::unlink(journal.c_str()) != 0 && errno != ENOENT) {
            detail::fail_write("cannot remove", journal, errno);
        }
        if (::rmdir(path_.c_str()) != 0) {
            detail::fail_write("cannot remove", path_, errno);
        }
    }

    /// Names of files, which need not be UTF-8, as names_in reads them.
    static nlohmann::json json_names(std::vector<std::string> names) {
        std::transform(names.begin(), names.end(), names.begin(), utf8_escaped);
        return names;
    }
    static std::vector<std::string> names_in(nlohmann::json const& list) {
        std::vector<std::string> out;
        for (nlohmann::json const& name : list) {
            out.push_back(utf8_unescaped(name.get_ref<std::string const&>()));
        }
        return out;
    }

    static void move_one(std::filesystem::path const& from, std::filesystem::path const& to) {
        if (!is_there(from)) {
            return;
        }
        if (std::filesystem::is_directory(look_at(from)) &&
            std::filesystem::is_directory(look_at(to))) {
            for (std::filesystem::path const& path : paths_in(from)) {
                move_one(path, to / path.filename());
            }
            ::rmdir(from.c_str());
        } else if (::rename(from.c_str(), to.c_str()) != 0) {
            detail::fail_write("cannot rename to", to, errno);
        }
    }

    /// The journal last: without it what is left would not be known as ours after a kill.
    void remove_files() const {
        std::error_code failed;
        auto const require = [&](std::filesystem::path const& path) {
            if (failed) {
                fail_input("cannot remove", path.string(), "success", failed.message());
            }
        };
        for (std::filesystem::path const& path : paths_in(path_)) {
            if (path.filename() != staging_journal_name) {
                std::filesystem::remove_all(path, failed);
                require(path);
            }
        }
        std::filesystem::remove(path_ / staging_journal_name, failed);
        require(path_ / staging_journal_name);
    }

    void discard() noexcept {
        std::error_code ignored;
        if (!fresh_.empty()) {
            ::rmdir(fresh_.c_str());
        }
        if (!path_.empty() && !kept_) {
            journal_ = {};  // its descriptor may be the last one, and looking needs one
            try {
                remove_files();
                std::filesystem::remove(path_, ignored);
            } catch (std::exception const&) {
                ::rmdir(path_.c_str());  // what cannot be removed stays, with its journal
            }
        }
        if (!kept_) {
            for (auto it = made_.rbegin(); it != made_.rend(); ++it) {
                ::rmdir(it->c_str());  // fails, as it should, when somebody put something there
            }
        }
    }

    output_place place_;
    std::filesystem::path path_;   // empty: nothing is ours
    std::filesystem::path fresh_;  // made, and not yet taken
    std::vector<std::filesystem::path> made_;
    detail::unique_fd lock_;
    journal_file journal_;
    bool kept_ = false;
    bool leftover_ = false;
    std::vector<nlohmann::json> finished_move_;
};

}  // namespace fpq
