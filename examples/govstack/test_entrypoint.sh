#!/bin/sh
# Starts Saphan for GovStack's published test suite and returns when it answers.
#
# Copy this file into a clone of GovStack's bb-information-mediator, as
# examples/saphan/test_entrypoint.sh, and run it there; then run the suite in test/openAPI.
# `saphan` must be on PATH. The last line printed is the process to end when the suite is done.
#
#   TEST_DATA  the suite's test-data.json (default: that of the clone)
#   LISTEN     where to answer (default: 127.0.0.1:3366, which the suite is fixed to)
#   LOG        where the output goes (default: saphan.log beside this file)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
data=${TEST_DATA:-$here/../../test/openAPI/test-data.json}
listen=${LISTEN:-127.0.0.1:3366}
log=${LOG:-$here/saphan.log}

saphan govstack-harness "$data" --listen "$listen" >"$log" 2>&1 &
process=$!
while kill -0 "$process" 2>/dev/null; do
    if grep -q "^Answering on" "$log"; then
        echo "Saphan answers on http://$listen/; end it with: kill $process"
        echo "$process"
        exit 0
    fi
    sleep 1
done
cat "$log" >&2
exit 1
