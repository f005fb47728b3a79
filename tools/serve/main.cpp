// SPDX-License-Identifier: Apache-2.0
// fpq-serve: a checkpoint behind an HTTP API. The main thread runs the engine, one thread listens,
// one waits for the signal to stop.
#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <string>
#include <thread>

#include "common/console.hpp"
#include "common/device.hpp"
#include "common/products.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "line/engine.hpp"
#include "line/gpu.hpp"
#include "serve/end_tokens.hpp"
#include "serve/http_server.hpp"
#include "serve/options.hpp"
#include "serve/stop_signal.hpp"

namespace {

using fpq::tools::engine_loop;
using fpq::tools::http_server;
using fpq::tools::serve_options;

/// The directory's name, or what was asked for.
std::string served_name(serve_options const& options) {
    if (!options.name.empty()) {
        return options.name;
    }
    std::error_code ignored;
    std::filesystem::path const whole = std::filesystem::absolute(options.model / "x", ignored);
    return whole.parent_path().lexically_normal().filename().string();
}

/// Lets running requests end, for as long as they are given.
void stop_gently(http_server& server, engine_loop& loop, std::chrono::seconds patience) {
    using clock = std::chrono::steady_clock;
    server.drain();
    auto const until = clock::now() + patience;
    while (server.in_flight() > 0 && clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    loop.stop();
}

/// Until a signal, whose number it returns. Throws what the engine throws.
int serve_until_stopped(http_server& server, engine_loop& loop, std::chrono::seconds patience) {
    fpq::tools::stop_signal const signals;
    int number = 0;
    std::thread listener([&] { server.listen(); });
    std::thread watcher([&] {
        number = signals.wait();
        stop_gently(server, loop, patience);
    });
    std::exception_ptr failure;
    try {
        loop.run();
    } catch (...) {
        failure = std::current_exception();
        signals.wake();
    }
    watcher.join();
    server.stop();
    listener.join();
    if (failure) {
        std::rethrow_exception(failure);
    }
    return number;
}

template <class B>
int serve_on(B const& backend, serve_options const& options, std::string const& key) {
    fpq::opened_model<B> const model(backend, fpq::model_directory(options.model),
                                     fpq::shipped_architectures);
    for (std::string const& note : model.config().notes) {
        fpq::tools::say("note: {}\n", fpq::detail::printable(note, 400));
    }
    fpq::tokenizer const words = fpq::tokenizer::open(model.directory());
    fpq::engine_options how;
    how.cache_tokens = options.cache_tokens;
    how.batch_tokens = options.batch_tokens;
    how.sequences = options.sequences;
    fpq::engine<B> engine(backend, model, how);
    std::size_t const longest =
        options.longest == 0 ? engine.longest() : std::min(options.longest, engine.longest());
    if (options.longest > longest) {
        fpq::tools::say("note: --max_model_len: {} tokens are what the model and memory allow\n",
                        longest);
    }
    fpq::tools::completion_model const served{
        &words,
        fpq::tools::end_tokens(model.directory(), words),
        {served_name(options), longest, model.config().vocab_size, options.choices}};
    engine_loop loop(fpq::tools::calls_of(engine), options.waiting);
    fpq::tools::http_limits limits;
    limits.body = options.body;
    limits.connections = options.connections;
    limits.request = std::chrono::seconds(options.request_seconds);
    http_server server(served, loop, key, limits);
    int const port = server.bind(options.host, options.port);
    fmt::print("serving {} at http://{}:{}/v1/completions, up to {} tokens\n",
               fpq::detail::printable(served.limits.model), options.host, port, longest);
    static_cast<void>(std::fflush(stdout));  // who started it waits for the port
    int const number =
        serve_until_stopped(server, loop, std::chrono::seconds(options.shutdown_seconds));
    fpq::tools::say("fpq-serve: stopped\n");
    return 128 + number;
}

int serve(serve_options const& options) {
    fpq::tools::enter_device_program(options.device);
    std::string const key = fpq::tools::api_key_of(options);
    int const threads = options.threads > 0 ? options.threads : fpq::tools::default_threads();
    fpq::tools::chosen_device const device = fpq::tools::choose_device(options.device);
    if (!device.gpu) {
        (void)fpq::tools::choose_products(options.products, threads);
    }
    if (!device.note.empty()) {
        fpq::tools::say("note: {}\n", device.note);
    }
    return fpq::tools::on_device(device, threads, options.memory, [&](auto const& backend) {
        return serve_on(backend, options, key);
    });
}

}  // namespace

int main(int argc, char** argv) {
    return fpq::tools::run_program("fpq-serve", [&] {
        serve_options options;
        return fpq::tools::take_all(fpq::tools::serve_program(options), argc, argv,
                                    [&] { return serve(options); });
    });
}
