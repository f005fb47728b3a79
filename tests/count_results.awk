# SPDX-License-Identifier: Apache-2.0
# Prints "passed failed skipped" from what ctest printed (first file) and its LastTest.log (second).
# A Catch2 program counts its test cases and takes off one for each line "SKIPPED: ..."; another test
# counts as one. A test that did not run, crashed or timed out is a failure, whatever it printed.

FNR == NR {
    if ($0 ~ /^ *[0-9]+\/[0-9]+ Test +#[0-9]+: /) {
        name = $0; sub(/^.*Test +#[0-9]+: /, "", name); sub(/ .*$/, "", name);
        if ($0 ~ /\*\*\*Skipped/) verdict[name] = "skipped";
        else if ($0 ~ / Passed +[0-9.]+ sec/) verdict[name] = "passed";
        else verdict[name] = "failed";
    }
    next;
}
/^[0-9]+\/[0-9]+ Testing: / { current = $3 }
/^SKIPPED: / { skips[current]++ }
/^All tests passed \(/ { match($0, /in [0-9]+ test case/); good[current] = substr($0, RSTART + 3) + 0 }
/^test cases: / {
    n = split($0, part, "|");
    for (i = 2; i <= n; i++) {
        if (part[i] ~ /passed/) good[current] = part[i] + 0;
        else if (part[i] ~ /failed/) wrong[current] = part[i] + 0;
    }
}
END {
    for (name in verdict) {
        if (verdict[name] == "skipped") { skipped++; continue; }
        if (verdict[name] == "failed") failed += wrong[name] > 0 ? wrong[name] : 1;
        if (name in good) {
            left_out = skips[name] < good[name] ? skips[name] + 0 : good[name];
            passed += good[name] - left_out;
            skipped += left_out;
        } else if (verdict[name] == "passed") {
            passed++;
        }
    }
    printf "%d %d %d\n", passed, failed, skipped;
}
