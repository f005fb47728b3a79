#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The page of a report in headless Chromium: 400 and 1100 pixels wide, light and dark, with no network
# and with every part unfolded, nothing overlaps, leaves its chart or is wider than the window.
#   bash page.sh BIN_DIR [OUT]      (with OUT, pictures are left there)
# Exit code 77 without Chromium. Not part of the build.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
bin=$(cd "$1" && pwd) out=${2:-}
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || {
    echo "SKIPPED: no chromium"
    exit 77
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/fpq-quantize" --model_name_or_path "$repo/examples/models/tiny-llama" --format nvfp4 --gptq \
    --dataset_name_or_path "$repo/examples/text/calib.txt" --num_sequences 8 --sequence_length 128 \
    --eval_perplexity --eval_data "$repo/examples/text/eval.txt" "$repo/examples/text/calib.txt" \
    --eval_windows 4 --save_path "$work/model" --report "$work/report.html" --device cpu \
    > "$work/run.log" 2>&1 || { tail -n 5 "$work/run.log"; exit 1; }
cat "$work/report.html" "$here/page_probe.html" > "$work/probed.html"

# show FLAGS...: the browser without a network or a profile.
show() {
    "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
        --host-resolver-rules='MAP * ~NOTFOUND' --virtual-time-budget=3000 "$@" 2> /dev/null
}
# frame WIDTH HEIGHT PAGE: an outer page that shows PAGE in a frame and takes its word as title.
frame() {
    printf '<body style="margin:0"><script>addEventListener("message", e => { document.title = e.data; });</script><iframe src="%s" style="border:0;width:%dpx;height:%dpx"></iframe>' \
        "$3" "$1" "$2" > "$work/frame.html"
}
wrong=0
for width in 400 1100; do
    for theme in light dark; do
        flags=(--window-size=1200,4200)
        [ "$theme" = light ] || flags+=(--blink-settings=preferredColorScheme=0)
        frame "$width" 4000 probed.html
        told=$(show "${flags[@]}" --dump-dom "file://$work/frame.html" | grep -o '<title>.*</title>' | head -1)
        told=${told#<title>} told=${told%</title>}
        echo "$width $theme: $told"
        back='rgb(255, 255, 255)'
        [ "$theme" = light ] || back='rgb(20, 23, 27)'
        case $told in
            "{\"width\":$width,\"charts\":6,\"back\":\"$back\",\"faults\":[]}") ;;
            *) wrong=1 ;;
        esac
        if [ -n "$out" ]; then
            mkdir -p "$out"
            frame "$width" 4000 report.html
            show "${flags[@]}" --screenshot="$out/report-$width-$theme.png" "file://$work/frame.html"
        fi
    done
done
[ -z "$out" ] || cp "$work/report.html" "$out/"
exit "$wrong"
