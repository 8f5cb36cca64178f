#!/bin/bash
# How the app is, by hand.
systemctl status --no-pager --lines=0 $slots nginx logrotate.timer
readlink "/srv/$app/current"
curl --silent --insecure --fail --resolve "$domain:443:127.0.0.1" "https://$domain/healthz"
