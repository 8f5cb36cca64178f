#!/bin/bash
# The end state by hand: run as root on the host, with the files in /tmp/files.tar and what to do in variables.
set -eu
home=/srv/$app
for path in $masked; do ln -sfn /dev/null "$path"; done
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
id -u "$app" >/dev/null 2>&1 || useradd --system --home-dir "$home" --shell /usr/sbin/nologin "$app"
mkdir -p "$release" "$home/environments" "$home/shared"
install -d -o "$app" -g "$app" -m 0750 "$home/shared/data" "$home/shared/uploads"
[ -d "$release/app" ] || git clone -q --branch main "$repository" "$release/app"
ln -sfn "$home/shared/data" "$release/app/data"
ln -sfn "$home/shared/uploads" "$release/app/uploads"
[ -d "$venv" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q -r "$release/app/requirements.txt"
"$venv/bin/pip" install -q "gunicorn==$gunicorn"
ln -sfn "$venv" "$release/venv"
ln -sfn "$release/app/demo_app/static" "$release/static"
ln -sfn "$release" "$home/current"
tar -xpf /tmp/files.tar -C /
rm -f $absent
for directory in $certificates; do
  [ -e "$directory/privkey.pem" ] && continue
  mkdir -p "$directory"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 397 -subj "/CN=$domain" \
    -addext "subjectAltName=DNS:$domain" -keyout "$directory/privkey.pem" -out "$directory/fullchain.pem" 2>/dev/null
done
systemd-run --quiet --pipe --wait --uid="$app" --property=EnvironmentFile="/etc/flask-ops/$app/environment" \
  --working-directory="$release/app" "$venv/bin/flask" --app demo_app db upgrade
systemctl daemon-reload
systemd-tmpfiles --create --prefix=/run || true
install --directory --mode=0700 /run/flask-ops/nginx
systemctl enable --quiet --now $units
nginx -t -q
systemctl reload nginx
curl --silent --insecure --fail --output /dev/null --retry 100 --retry-delay 0 --retry-all-errors \
  --resolve "$domain:443:127.0.0.1" "https://$domain/"
