// SPDX-License-Identifier: Apache-2.0
// Floor 8. Where the time of a run goes, for its report.
#pragma once

#include <chrono>
#include <string>

#include "fpq/pipeline/report.hpp"

namespace fpq::detail {

/// Adds up the seconds of phases that come and go.
class phase_clock {
public:
    explicit phase_clock(run_report& report) : report_(report) {}
    void enter(std::string const& phase) {
        leave();
        phase_ = phase;
        begin_ = std::chrono::steady_clock::now();
    }
    void leave() {
        if (phase_.empty()) {
            return;
        }
        std::chrono::duration<double> const spent = std::chrono::steady_clock::now() - begin_;
        for (phase_time& p : report_.phases) {
            if (p.phase == phase_) {
                p.seconds += spent.count();
                phase_.clear();
                return;
            }
        }
        report_.phases.push_back({phase_, spent.count()});
        phase_.clear();
    }

private:
    run_report& report_;
    std::string phase_;
    std::chrono::steady_clock::time_point begin_;
};

}  // namespace fpq::detail
