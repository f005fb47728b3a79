// SPDX-License-Identifier: Apache-2.0
#include "serve/http_server.hpp"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <exception>
#include <string_view>
#include <thread>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "serve/api_error.hpp"
#include "serve/api_key.hpp"
#include "serve/completion_request.hpp"
#include "serve/completion_response.hpp"
#include "serve/loopback.hpp"

namespace fpq::tools {

namespace {

using clock = std::chrono::steady_clock;

constexpr char const* json_type = "application/json";
constexpr char const* completions_path = "/v1/completions";

void answer(httplib::Response& to, api_error const& why) {
    to.status = why.status();
    to.set_content(why.body().dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                   json_type);
}

void answer(httplib::Response& to, nlohmann::ordered_json const& body) {
    to.set_content(body.dump(), json_type);
}

/// The name in "name:port" or "[::1]:port".
std::string host_name(std::string const& header) {
    std::size_t const end = header.starts_with('[') ? header.find(']') + 1 : header.find(':');
    return header.substr(0, end);
}

/// One request that is not answered yet.
class in_flight_count {
public:
    explicit in_flight_count(std::atomic<std::size_t>& count) : count_(&count) { ++count; }
    ~in_flight_count() { --*count_; }
    in_flight_count(in_flight_count const&) = delete;
    in_flight_count& operator=(in_flight_count const&) = delete;

private:
    std::atomic<std::size_t>* count_;
};

/// Work that the engine gives up when nobody waits for it any more.
class held_work {
public:
    held_work(engine_loop& engine, std::vector<std::uint64_t> tickets)
        : engine_(&engine), tickets_(std::move(tickets)) {}
    ~held_work() { engine_->cancel(tickets_); }
    held_work(held_work const&) = delete;
    held_work& operator=(held_work const&) = delete;

private:
    engine_loop* engine_;
    std::vector<std::uint64_t> tickets_;  // those that have ended are no longer known
};

/// What a stream holds as long as it is sent.
struct stream_state {
    stream_state(std::shared_ptr<completion_job> j, std::shared_ptr<void const> o)
        : job(std::move(j)), others(std::move(o)), events(*job) {}

    std::shared_ptr<completion_job> job;
    std::shared_ptr<void const> others;
    completion_events events;
};

}  // namespace

struct http_server::routes {
    explicit routes(http_server& whose) : owner(whose) {}

    /// Before a body is read. True: answered.
    bool refuse_early(httplib::Request const& request, httplib::Response& response) const {
        try {
            require_known(request);
            require_access(request);
            return false;
        } catch (api_error const& why) {
            answer(response, why);
            response.set_header("Connection", "close");  // its body is not read
            return true;
        }
    }

    static void require_known(httplib::Request const& request) {
        bool const completions = request.path == completions_path;
        bool const readable = request.path == "/health" || request.path == "/v1/models" ||
                              request.path.starts_with("/v1/models/");
        if (!completions && !readable) {
            throw api_error(404,
                            "no such path; there are POST /v1/completions, GET /v1/models "
                            "and GET /health");
        }
        bool const reads = request.method == "GET" || request.method == "HEAD";
        if (completions ? request.method != "POST" : !reads) {
            throw api_error(405, std::string("expected ") + (completions ? "POST" : "GET"));
        }
        if (request.is_multipart_form_data()) {
            throw api_error(415, "expected Content-Type: application/json");
        }
    }

    void require_access(httplib::Request const& request) const {
        if (!owner.api_key_.empty()) {
            if (request.path != "/health" &&
                !authorizes(owner.api_key_, request.get_header_value("Authorization"))) {
                throw api_error(401,
                                "expected the header Authorization: Bearer KEY, with the key "
                                "of this server",
                                {}, "invalid_api_key");
            }
            return;
        }
        // A page in a browser of this machine may reach any port here under a name of its own.
        std::string const host = request.get_header_value("Host");
        if (!host.empty() && !is_loopback(host_name(host))) {
            throw api_error(403, "the header Host names another machine");
        }
    }

    /// The body of a completion request, read to its end also where it is refused: on a connection
    /// that stays, the next request follows it.
    [[nodiscard]] std::string read_body(httplib::Request const& request,
                                        httplib::ContentReader const& reader) const {
        std::size_t const most = owner.limits_.body;
        std::string body;
        bool too_large = declared_size(request) > most;
        bool const whole = reader([&](char const* data, std::size_t size) {
            too_large = too_large || size > most - body.size();
            too_large ? body.clear() : void(body.append(data, size));
            return true;
        });
        if (too_large) {
            throw api_error(413, fmt::format("expected a body of at most {} bytes", most));
        }
        if (!whole) {
            throw api_error(400, "the body ends early");
        }
        if (!request.get_header_value("Content-Type").starts_with(json_type)) {
            throw api_error(415, "expected Content-Type: application/json");
        }
        if (request.has_header("Content-Encoding")) {
            throw api_error(415, "expected a body without Content-Encoding");
        }
        return body;
    }

    static std::uint64_t declared_size(httplib::Request const& request) {
        std::string const text = request.get_header_value("Content-Length");
        std::uint64_t size = 0;
        std::from_chars(text.data(), text.data() + text.size(), size);
        return size;
    }

    void complete(httplib::Request const& request, httplib::Response& response,
                  httplib::ContentReader const& reader) const {
        auto const counted = std::make_shared<in_flight_count>(owner.in_flight_);
        completion_job::deadline const until = clock::now() + owner.limits_.request;
        std::string const body = read_body(request, reader);
        if (owner.draining_) {
            throw api_error(503, "the server is shutting down");
        }
        auto const job = std::make_shared<completion_job>(
            owner.model_, read_completion_request(body, owner.model_.limits));
        std::vector<engine_work> work = completion_job::work_of(job);
        std::vector<std::uint64_t> tickets = owner.engine_.submit(work);
        if (tickets.empty()) {
            response.set_header("Retry-After", "1");
            throw api_error(429, "too many requests are waiting", {}, "queue_full");
        }
        auto const held = std::make_shared<held_work>(owner.engine_, std::move(tickets));
        if (job->request().stream) {
            stream(response, until, job,
                   std::make_shared<
                       std::pair<std::shared_ptr<in_flight_count>, std::shared_ptr<held_work>>>(
                       counted, held));
            return;
        }
        if (!job->wait(until)) {
            throw api_error(504, "the request took too long", {}, "timeout");
        }
        response.set_content(completion_answer(*job), json_type);
    }

    static void stream(httplib::Response& response, completion_job::deadline until,
                       std::shared_ptr<completion_job> job, std::shared_ptr<void const> others) {
        auto const state = std::make_shared<stream_state>(std::move(job), std::move(others));
        response.set_header("Cache-Control", "no-cache");
        response.set_chunked_content_provider("text/event-stream",
                                              [state, until](std::size_t, httplib::DataSink& sink) {
                                                  return send_next(*state, until, sink);
                                              });
    }

    /// One turn of a stream. False: the client is gone.
    static bool send_next(stream_state& state, completion_job::deadline until,
                          httplib::DataSink& sink) {
        std::string events;
        bool last = false;
        try {
            // Not longer at once, to see a client go.
            auto const soon = clock::now() + std::chrono::seconds(1);
            if (!state.job->wait_for_more(std::min(until, soon))) {
                if (clock::now() < until) {
                    return sink.is_writable();
                }
                throw api_error(504, "the request took too long", {}, "timeout");
            }
            last = state.job->done();
            events = state.events.next();
        } catch (api_error const& why) {
            last = true;
            events = completion_events::of(why);
        }
        bool const sent = events.empty() || sink.write(events.data(), events.size());
        if (last && sent) {
            sink.done();
        }
        return sent;
    }

    void models(httplib::Response& response) const {
        answer(response, {{"object", "list"}, {"data", {model()}}});
    }

    void one_model(httplib::Request const& request, httplib::Response& response) const {
        std::string const name = request.path.substr(std::string_view("/v1/models/").size());
        if (name != owner.model_.limits.model) {
            throw api_error(404, "no such model: expected " + owner.model_.limits.model, "model",
                            "model_not_found");
        }
        answer(response, model());
    }

    [[nodiscard]] nlohmann::ordered_json model() const {
        return {{"id", owner.model_.limits.model},
                {"object", "model"},
                {"created", owner.started_},
                {"owned_by", "fpq"},
                {"max_model_len", owner.model_.limits.longest}};
    }

    void health(httplib::Response& response) const {
        response.status = owner.draining_ ? 503 : 200;
        answer(response, {{"status", owner.draining_ ? "stopping" : "ok"},
                          {"requests", owner.in_flight_.load()},
                          {"sequences", owner.engine_.size()}});
    }

    /// Every failure of `handle` becomes an answer.
    template <class F>
    static void guarded(httplib::Response& response, F const& handle) {
        try {
            handle();
        } catch (api_error const& why) {
            answer(response, why);
        } catch (std::exception const& why) {
            answer(response, api_error(500, why.what()));
        }
    }

    http_server& owner;
    httplib::Server server;
};

http_server::http_server(completion_model const& model, engine_loop& engine, std::string api_key,
                         http_limits limits)
    : model_(model),
      engine_(engine),
      api_key_(std::move(api_key)),
      limits_(limits),
      started_(std::chrono::duration_cast<std::chrono::seconds>(
                   std::chrono::system_clock::now().time_since_epoch())
                   .count()),
      routes_(std::make_unique<routes>(*this)) {
    routes& r = *routes_;
    httplib::Server& server = r.server;
    server.new_task_queue = [n = limits.connections] { return new httplib::ThreadPool(n); };
    server.set_payload_max_length(limits.body);
    server.set_read_timeout(limits.transfer);
    server.set_write_timeout(limits.transfer);
    server.set_keep_alive_timeout(limits.keep_alive.count());
    server.set_keep_alive_max_count(1000000);
    server.set_tcp_nodelay(true);
    server.set_socket_options([this](auto fd) {
        socket_ = fd;
        int const on = 1;  // without SO_REUSEPORT: a second server on the port must fail
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    });
    server.set_pre_routing_handler([&r](httplib::Request const& in, httplib::Response& out) {
        return r.refuse_early(in, out) ? httplib::Server::HandlerResponse::Handled
                                       : httplib::Server::HandlerResponse::Unhandled;
    });
    server.set_error_handler([](httplib::Request const&, httplib::Response& out) {
        if (out.body.empty()) {  // of the library: a request that it could not read
            answer(out, api_error(out.status, out.status == 413 ? "the body is too large"
                                                                : "the request is malformed"));
        }
    });
    server.Post(completions_path, [&r](httplib::Request const& in, httplib::Response& out,
                                       httplib::ContentReader const& reader) {
        routes::guarded(out, [&] { r.complete(in, out, reader); });
    });
    server.Get("/v1/models",
               [&r](httplib::Request const&, httplib::Response& out) { r.models(out); });
    server.Get("/v1/models/.+", [&r](httplib::Request const& in, httplib::Response& out) {
        routes::guarded(out, [&] { r.one_model(in, out); });
    });
    server.Get("/health", [&r](httplib::Request const&, httplib::Response& out) { r.health(out); });
}

http_server::~http_server() = default;

int http_server::bind(std::string const& host, int port) {
    httplib::Server& server = routes_->server;
    int const bound = port == 0                         ? server.bind_to_any_port(host)
                      : server.bind_to_port(host, port) ? port
                                                        : -1;
    if (bound <= 0) {
        fail_input("cannot listen", host + ":" + std::to_string(port),
                   "an address of this machine with a free port", "none");
    }
    // The library asks for a backlog of 5, and clients that come at once would be lost.
    ::listen(socket_, static_cast<int>(limits_.connections));
    return bound;
}

void http_server::listen() {
    routes_->server.listen_after_bind();
    ended_ = true;
}

void http_server::stop() {
    // The library forgets a stop that comes before it listens.
    while (!routes_->server.is_running() && !ended_) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    routes_->server.stop();
}

}  // namespace fpq::tools
