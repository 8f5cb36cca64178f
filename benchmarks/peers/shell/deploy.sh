#!/bin/bash
# A new release by hand, until it answers: run as root on the host. $revision goes back to an earlier one.
set -eu
cd "$release/app"
if [ "${revision:-}" ]; then git checkout -q "$revision"; else git checkout -q main && git pull -q; fi
"$venv/bin/pip" install -q -r requirements.txt
[ "${revision:-}" ] || systemd-run --quiet --pipe --wait --uid="$app" --property=EnvironmentFile="/etc/flask-ops/$app/environment" \
  --working-directory="$release/app" "$venv/bin/flask" --app demo_app db upgrade
systemctl restart $slots
curl --silent --insecure --fail --output /dev/null --retry 100 --retry-delay 0 --retry-all-errors \
  --resolve "$domain:443:127.0.0.1" "https://$domain/"
