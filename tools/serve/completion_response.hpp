// SPDX-License-Identifier: Apache-2.0
// What a completion request is answered with, whole or in the chunks of a stream.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serve/completion_job.hpp"

namespace fpq::tools {

/// The JSON text of a whole answer. The job must be done.
std::string completion_answer(completion_job& job);

/// Server-sent events of a job as it goes on.
class completion_events {
public:
    explicit completion_events(completion_job& job);

    /// The events of what came since the last call, which may be none; the last ones when the job
    /// is done.
    std::string next();

    /// The event that tells of a failure, after which nothing follows.
    static std::string of(api_error const& why);

private:
    struct progress {
        std::size_t text = 0;    // bytes that are sent
        std::size_t tokens = 0;  // of the choice
        bool finished = false;
    };

    completion_job* job_;
    std::vector<progress> sent_;
    bool ended_ = false;
};

}  // namespace fpq::tools
