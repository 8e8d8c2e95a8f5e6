#!/bin/sh
# A minimal poller on curl: fetch what has an unknown unique-id, store it, then delete it.
#     curl_poller.sh HOST PORT TLS CA USER PASSWORD FOLDER SEEN SECONDS
# Each call of curl is a session. A message that an earlier run stored is deleted without being fetched again.
set -u
scheme=pop3
if [ "$3" = yes ]; then scheme=pop3s; fi
url=$scheme://$1:$2
folder=$7
seen=$8
touch "$seen"
cp "$seen" known
rm -f listing partial delete

ask() {
    curl --silent --show-error --max-time "$SECONDS_EACH" --cacert "$CA" --user "$LOGIN" "$@"
}
CA=$4 LOGIN=$5:$6 SECONDS_EACH=$9

ask --request UIDL --output listing "$url/" || exit
# curl shows the listing of an empty maildrop as an empty line.
tr -d '\r' <listing | grep . | while read -r number unique_id; do
    if ! grep -qxF -e "$unique_id" known; then
        ask --output partial "$url/$number" || exit
        mv partial "$folder/$(ls "$folder" | wc -l)" || exit
        echo "$unique_id" >>"$seen"
    fi
    echo "url=$url/$number" >>delete
    echo 'output=/dev/null' >>delete
done
status=$?
# --list-only keeps curl from waiting for a multi-line response.
if [ -s delete ]; then
    ask --list-only --request DELE --config delete || status=$?
fi
exit "$status"
