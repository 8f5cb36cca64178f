-- The short answer of `/`.
wrk.headers["Accept"] = "application/json"
