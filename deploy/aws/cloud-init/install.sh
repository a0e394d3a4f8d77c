#!/bin/sh
# install SERVICE S3-URI SHA256: fetches an archive of Dunlin, checks it, and starts the service from it.
set -eu
archive=/opt/dunlin/archive.tar.gz
tries=0
# A role that was made a moment ago may be refused for some seconds.
until aws s3 cp --only-show-errors "$2" "$archive"; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || { echo "dunlin: can't fetch $2" >&2; exit 1; }
    sleep 3
done
echo "$3  $archive" | sha256sum --check --quiet || { echo "dunlin: $2 is not what was published" >&2; exit 1; }
tar --extract --gzip --no-same-owner --file "$archive" --directory /opt/dunlin
rm "$archive"
[ "$1" != model ] || exit 0
install -m 0644 "/opt/dunlin/systemd/dunlin-$1.service" /etc/systemd/system/
systemctl daemon-reload
systemctl enable --now "dunlin-$1.service"
