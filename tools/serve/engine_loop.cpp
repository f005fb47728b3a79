// SPDX-License-Identifier: Apache-2.0
#include "serve/engine_loop.hpp"

#include <exception>
#include <utility>

#include "fpq/core/hosted/error.hpp"

namespace fpq::tools {

std::vector<std::uint64_t> engine_loop::submit(std::vector<engine_work>& work) {
    std::vector<std::uint64_t> tickets;
    {
        std::scoped_lock const lock(mutex_);
        if (stopped_ || work.size() > room_ || entries_.size() > room_ - work.size()) {
            return {};
        }
        for (engine_work& one : work) {
            tickets.push_back(next_++);
            entries_.emplace(tickets.back(), entry{std::move(one), 0});
            inbox_.push_back(tickets.back());
        }
    }
    arrived_.notify_one();
    return tickets;
}

void engine_loop::cancel(std::vector<std::uint64_t> const& tickets) {
    {
        std::scoped_lock const lock(mutex_);
        cancelled_.insert(cancelled_.end(), tickets.begin(), tickets.end());
    }
    arrived_.notify_one();
}

void engine_loop::stop() {
    {
        std::scoped_lock const lock(mutex_);
        stopped_ = true;
    }
    arrived_.notify_one();
}

std::size_t engine_loop::size() const {
    std::scoped_lock const lock(mutex_);
    return entries_.size();
}

void engine_loop::run() {
    try {
        for (bool busy = false;;) {
            std::vector<std::uint64_t> arrived;
            std::vector<std::uint64_t> given_up;
            {
                std::unique_lock lock(mutex_);
                arrived_.wait(lock, [&] {
                    return busy || stopped_ || !inbox_.empty() || !cancelled_.empty();
                });
                if (stopped_) {
                    break;
                }
                arrived = std::exchange(inbox_, {});
                given_up = std::exchange(cancelled_, {});
            }
            take(arrived, given_up);
            busy = calls_.step();
        }
        fail_all(engine_failure::stopped, "the server is shutting down");
    } catch (std::exception const& why) {
        stop();
        fail_all(engine_failure::broken, why.what());
        throw;
    }
}

void engine_loop::take(std::vector<std::uint64_t> const& arrived,
                       std::vector<std::uint64_t> const& given_up) {
    for (std::uint64_t const ticket : arrived) {
        start(ticket);
    }
    for (std::uint64_t const ticket : given_up) {
        std::uint64_t id = 0;
        {
            std::scoped_lock const lock(mutex_);
            auto const at = entries_.find(ticket);
            if (at == entries_.end()) {
                continue;
            }
            id = at->second.id;
            entries_.erase(at);  // first: the engine may tell its sink
        }
        calls_.cancel(id);
    }
}

void engine_loop::start(std::uint64_t ticket) {
    entry* one = nullptr;
    {
        std::scoped_lock const lock(mutex_);
        one = &entries_.at(ticket);  // stays where it is, and only this thread takes it away
    }
    try {
        one->id = calls_.submit(std::move(one->work.request),
                                [this, ticket](auto const& what) { return update(ticket, what); });
    } catch (error const& refused) {
        one->work.failed(engine_failure::refused, refused.what());
        erase(ticket);
    }
}

bool engine_loop::update(std::uint64_t ticket, generation_update const& what) {
    entry* one = nullptr;
    {
        std::scoped_lock const lock(mutex_);
        auto const at = entries_.find(ticket);
        if (at == entries_.end()) {
            return false;
        }
        one = &at->second;
    }
    bool const goes_on = one->work.sink(what);
    if (!goes_on || what.finish) {
        erase(ticket);
    }
    return goes_on;
}

void engine_loop::erase(std::uint64_t ticket) {
    std::scoped_lock const lock(mutex_);
    entries_.erase(ticket);
}

void engine_loop::fail_all(engine_failure kind, std::string const& why) {
    std::map<std::uint64_t, entry> left;
    {
        std::scoped_lock const lock(mutex_);
        left = std::exchange(entries_, {});
        inbox_.clear();
    }
    for (auto& [ticket, one] : left) {
        one.work.failed(kind, why);
        if (one.id != 0) {
            calls_.cancel(one.id);
        }
    }
}

}  // namespace fpq::tools
