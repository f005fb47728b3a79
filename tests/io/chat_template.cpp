// SPDX-License-Identifier: Apache-2.0
// The interpreter of chat templates. The expected texts are those of Jinja 3.1 as transformers sets
// it up.
#include "fpq/io/chat/chat_template.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "tokenizer_fixture.hpp"

namespace {

using fpq_test::input_error;
using fpq_test::temporary_directory;

using json = nlohmann::ordered_json;

json variables() {
    return json::parse(R"({
        "messages": [{"role": "system", "content": " Be brief.\n"},
                     {"role": "user", "content": "Hi"},
                     {"role": "assistant", "content": "Ho "}],
        "x": "a b  c", "n": 7, "f": 2.5, "nothing": null, "yes": true, "e": "",
        "d": {"b": 1, "a": "q\"'"}, "l": [3, 1, 2, "z"], "u": "\u00e9\t\u00a0x"})");
}

std::string render(std::string_view source) {
    return fpq::chat_template(source, "t", {{"bos_token", "<s>"}, {"eos_token", "</s>"}})
        .render(variables());
}

std::string value_of(std::string const& expression) { return render("{{ " + expression + " }}"); }

std::string refusal(std::string const& source) {
    return input_error([&] { (void)render(source); });
}

using pairs = std::vector<std::pair<std::string, std::string>>;

}  // namespace

TEST_CASE("white space around tags is what trim_blocks and lstrip_blocks leave", "[io][chat]") {
    for (auto const& [source, text] : pairs{
             {"a\n{% if yes %}\n  b\n{% endif %}\nc\n", "a\n  b\nc"},
             {"a  {%- if yes -%}  b  {%- endif -%}  c", "abc"},
             {"  {% if yes %}x{% endif %}  \n", "x  "},
             {"x {% if yes %} y {% endif %}\n z", "x  y  z"},
             {"a\n  {# c #}\n b", "a\n b"},
             {"a {#- c -#} b", "ab"},
             {"{{ n }}\n{{ n }}\n", "7\n7"},
             {"  {%+ if yes %}x{% endif +%}\n y", "  x\n y"},
             {"a\r\nb\r{{ n }}\n\n", "a\nb\n7\n"},
             {"\n\n{% if yes %}\n\n x\n\n{% endif %}\n\n", "\n\n\n x\n\n"},
             {"{ {{ n }} } %} }} #}", "{ 7 } %} }} #}"},
             {"{{ {'a': '}}'}['a'] }}", "}}"},
         }) {
        CAPTURE(source);
        CHECK(render(source) == text);
    }
}

TEST_CASE("expressions have Python's values and order of precedence", "[io][chat]") {
    for (auto const& [expression, text] : pairs{
             {"n + 1 * 2 - 3", "6"},
             {"-n // 2", "-4"},
             {"-n % 3", "2"},
             {"n / 2", "3.5"},
             {"0.1 + 0.2", "0.30000000000000004"},
             {"2 ~ 3 * 4", "212"},
             {"'' * 9223372036854775807 ~ 9223372036854775807 * ''", ""},
             {"'ab' * -1 ~ 'ab' * 0 ~ 'ab' * 2", "abab"},
             {"x[1:3] ~ x[::-1] ~ x[-1]", " bc  b ac"},
             {"l[::-1]", "['z', 2, 1, 3]"},
             {"l[99] is defined", "False"},
             {"u[0] ~ u|length", "\u00e94"},
             {"1 < 2 < 3 and not 3 > 2 > 2", "True"},
             {"'b' in x and 3 in l and 'a' in d", "True"},
             {"e or 'other'", "other"},
             {"'y' if nothing else 'no'", "no"},
             {"'y' if e", ""},
             {"nothing ~ yes ~ f", "NoneTrue2.5"},
             {"missing", ""},
             {"d", "{'b': 1, 'a': 'q\"\\''}"},
             {"(1, 2), (3,)", "((1, 2), (3,))"},
             {"d.items()|list", "[('b', 1), ('a', 'q\"\\'')]"},
             {"'a' \"b\" '\\n\\x41\\q'", "ab\nA\\q"},
             {"[u]", "['\u00e9\\t\\xa0x']"},
             {"messages[-1]['content'].strip() + '!'", "Ho!"},
             {"x.split(' ', 1)", "['a', 'b  c']"},
             {"messages|length - 1", "2"},
             {"d.get('q', 4)", "4"},
             {"bos_token", "<s>"},
             {"x.startswith(('z', 'a'))", "True"},
             {"namespace(a=1).a", "1"},
             {"strftime_now('%d %b %Y')", "26 Jul 2024"},
             {"range(5, 0, -2)|list", "[5, 3, 1]"},
         }) {
        CAPTURE(expression);
        CHECK(value_of(expression) == text);
    }
}

TEST_CASE("filters and tests of templates", "[io][chat]") {
    for (auto const& [expression, text] : pairs{
             {"d|tojson", R"({"b": 1, "a": "q\"'"})"},
             {"{'a': [1, {}], 'b': []}|tojson(indent=2)",
              "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"},
             {"u|tojson", "\"\u00e9\\t\u00a0x\""},
             {"u|trim", "\u00e9\t\u00a0x"},
             {"messages|map(attribute='role')|join(',')", "system,user,assistant"},
             {"messages|selectattr('role', 'equalto', 'user')|list|length", "1"},
             {"messages|rejectattr('role', 'in', ['user'])|list|length", "2"},
             {"'lazy' if messages|selectattr('role', '==', 'q') else 'list'", "lazy"},
             {"l|reject('string')|list", "[3, 1, 2]"},
             {"e|default('d') ~ e|d('d', true)", "d"},
             {"missing|default('d')", "d"},
             {"x|replace(' ', '_')|upper", "A_B__C"},
             {"' 12 '|int + 1", "13"},
             {"l|first ~ l|last", "3z"},
             {"x|reverse", "c  b a"},
             {"x is string and d is mapping and l is iterable and x is sequence", "True"},
             {"n is odd and n is divisibleby 7 and n is gt 3 and n is number", "True"},
             {"nothing is none and missing is not defined and yes is true", "True"},
         }) {
        CAPTURE(expression);
        CHECK(value_of(expression) == text);
    }
}

TEST_CASE("statements: loops, variables, macros", "[io][chat]") {
    for (auto const& [source, text] : pairs{
             {"{% for i in l %}{{ loop.index }}{{ loop.revindex0 }}{{ loop.last }};{% endfor %}",
              "13False;22False;31False;40True;"},
             {"{% for i in l if i is number %}{{ i }}{% else %}-{% endfor %}", "312"},
             {"{% for i in missing %}x{% else %}none{% endfor %}", "none"},
             {"{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "b=1;a=q\"';"},
             {"{% for i in l %}{% if i == 1 %}{% continue %}{% elif i == 'z' %}{% break %}"
              "{% endif %}{{ i }}{% endfor %}",
              "32"},
             {"{% set a = 1 %}{% for i in l %}{% set a = i %}{{ a }}{% endfor %}{{ a }}", "312z1"},
             {"{% set ns = namespace(a=1) %}{% for i in l %}{% set ns.a = i %}{% endfor %}"
              "{{ ns.a }}",
              "z"},
             {"{% set a, b = 1, 2 %}{{ b }}{{ a }}", "21"},
             {"{% set a %} in {{ n }}{% endset %}[{{ a }}]", "[ in 7]"},
             {"{% macro m(a, b=2) %}[{{ a }}-{{ b }}]{% endmacro %}{{ m(1) }}{{ m(b=1, a=4) }}",
              "[1-2][4-1]"},
             {"{% generation %}x{{ n }}{% endgeneration %}", "x7"},
         }) {
        CAPTURE(source);
        CHECK(render(source) == text);
    }
}

TEST_CASE("what is not supported is refused by its name and line", "[io][chat]") {
    for (auto const& [source, name] : pairs{
             {"\n\n{% include 'a' %}", "t line 3: found {% include %}"},
             {"{% with a = 1 %}{% endwith %}", "{% with %}"},
             {"{{ n ** 2 }}", "operator **"},
             {"{{ x|wordcount }}", "filter 'wordcount'"},
             {"{{ n is escaped }}", "test 'escaped'"},
             {"{{ x.format(1) }}", "method format of a text"},
             {"{{ '%s' % n }}", "formatting"},
             {"{{ d.items }}", "method items without a call"},
             {"{{ d.update({}) }}", "update"},
             {"{{ x.__class__ }}", "__class__"},
             {"{{ u.upper() }}", "beyond ASCII"},
             {"{% for i in l recursive %}{% endfor %}", "recursive"},
         }) {
        CAPTURE(source);
        std::string const line = refusal(source);
        CHECK(line.find("not supported") != std::string::npos);
        CHECK(line.find(name) != std::string::npos);
    }
}

TEST_CASE("templates that fail say where", "[io][chat]") {
    for (auto const& [source, name] : pairs{
             {"{{ raise_exception('Roles must alternate') }}", "it says: Roles must alternate"},
             {"\n{{ missing.x }}", "t line 2: found member 'x' of undefined 'missing'"},
             {"{{ 'a' + 1 }}", "operator + of str and int"},
             {"{{ nothing + 'a' }}", "NoneType"},
             {"{% for i in none %}{% endfor %}", "a loop over NoneType"},
             {"{{ 1 // 0 }}", "zero"},
             {"{% if yes %}", "{% endif %}"},
             {"{{ x", "}}"},
             {"{% nothing %}", "{% nothing"},
             {"{{ 1 + }}", "an expression"},
             {"{{ (1] }}", "brackets"},
             {"{{ 'a }}", "string"},
         }) {
        CAPTURE(source);
        CHECK(refusal(source).find(name) != std::string::npos);
    }
}

TEST_CASE("a template that does not end is ended", "[io][chat]") {
    std::string deep = "{{ ";
    deep.append(5000, '(').append("1").append(5000, ')').append(" }}");
    CHECK(refusal(deep).find("nesting beyond") != std::string::npos);
    std::string chain = "{{ 1";
    for (int i = 0; i < 5000; ++i) {
        chain += " + 1";
    }
    CHECK(refusal(chain + " }}").find("levels") != std::string::npos);
    CHECK(refusal("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").find("too deep") !=
          std::string::npos);
    CHECK(refusal("{{ 'aaaaaaaa' * 1000000000 }}").find("more steps") != std::string::npos);
    CHECK(refusal("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")
              .find("more steps") != std::string::npos);
}

// Each takes minutes, gigabytes or the whole stack when the work of one operation is not counted.
TEST_CASE("no operation of a template is free", "[io][chat]") {
    std::string const doubled =
        "{% set ns = namespace(x=['a', 'b']) %}"
        "{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}";
    for (char const* const use :
         {"{{ ns.x }}", "{{ ns.x | tojson }}", "{{ ns.x | tojson(indent=2) }}",
          "{{ ns.x == ns.x }}", "{{ ns.x in [ns.x] }}", "{{ [ns.x, ns.x] | unique | list }}"}) {
        CAPTURE(use);
        CHECK(refusal(doubled + use).find("more steps") != std::string::npos);
    }
    std::string const text = "{% set t = 'a' * 300000 %}{% set u = 'a' * 150000 + 'b' %}";
    for (char const* const use :
         {"{{ u in t }}", "{{ t.split(u) }}", "{{ t.replace(u, '') }}", "{{ t.find(u) }}",
          "{{ t.count(u) }}", "{{ t.strip('b' * 150000 + 'a') }}",
          "{% for i in range(9999) %}{% if t == t + '' %}{% endif %}{% endfor %}",
          "{% for i in range(9999) %}{% if t | length == 1 %}{% endif %}{% endfor %}",
          "{% for i in range(9999) %}{% if t.startswith(t) %}{% endif %}{% endfor %}",
          "{% for i in range(9999) %}{{ t[1:2] }}{% endfor %}"}) {
        CAPTURE(use);
        CHECK(refusal(text + use).find("more steps") != std::string::npos);
    }
    std::string names;
    for (int i = 0; i < 5000; ++i) {
        names += "{% set v" + std::to_string(i) + " = 1 %}";
    }
    CHECK(refusal(names + "{% for i in range(99999) %}{% if v4999 %}{% endif %}{% endfor %}")
              .find("more steps") != std::string::npos);
    CHECK(refusal("{% set ns = namespace(x=1) %}"
                  "{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}")
              .find("nested too deep") != std::string::npos);
    CHECK(refusal("{% set ns = namespace(x=1) %}{% for i in range(99999) %}"
                  "{% for j in [ns.x] %}{% set ns.x = loop %}{% endfor %}{% endfor %}")
              .find("nested too deep") != std::string::npos);
    CHECK(render("{% set ns = namespace(x=1) %}{% for i in range(20000) %}"
                 "{% set ns.x = namespace(y=ns.x) %}{% endfor %}end") == "end");
}

TEST_CASE("objects of a template that hold each other are freed", "[io][chat]") {
    // The leak checker of the sanitizers sees it.
    CHECK(render("{% set ns = namespace(x=1) %}{% set ns.x = [ns] %}{{ ns.x | length }}") == "1");
}

TEST_CASE("Llama-2's and Mistral's rules, written for this test", "[io][chat]") {
    constexpr std::string_view source =
        "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
        "{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}"
        "{% set system = false %}{% endif %}{{ bos_token }}{% for m in rest %}"
        "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('order') }}{% endif %}"
        "{% if loop.first and system != false %}"
        "{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + m['content'] %}"
        "{% else %}{% set content = m['content'] %}{% endif %}"
        "{% if m['role'] == 'user' %}{{ '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
    CHECK(render(source) == "<s>[INST] <<SYS>>\n Be brief.\n\n<</SYS>>\n\nHi [/INST] Ho </s>");
}

TEST_CASE("the template of a checkpoint: its own file, else the configuration's", "[io][chat]") {
    temporary_directory const dir;
    CHECK_FALSE(fpq::open_chat_template(dir.path()));
    dir.write("tokenizer_config.json",
              R"({"bos_token": {"content": "<s>"}, "chat_template": [
                  {"name": "tool_use", "template": "no"},
                  {"name": "default", "template": "{{ bos_token }}{{ messages[0].role }}"}]})");
    CHECK(fpq::open_chat_template(dir.path())->render(variables()) == "<s>system");
    dir.write("chat_template.jinja", "{{ bos_token }}{{ tools }}{{ add_generation_prompt }}");
    CHECK(fpq::open_chat_template(dir.path())->render(variables()) == "<s>NoneFalse");
    dir.write("chat_template.jinja", "{{ messages[9].role }}");
    std::string const line = input_error([&] {
        (void)fpq::open_chat_template(dir.path())->render(variables(), "rows.jsonl line 3");
    });
    CHECK(line.find("rows.jsonl line 3: ") != std::string::npos);
    CHECK(line.find("chat_template.jinja line 1") != std::string::npos);
}
