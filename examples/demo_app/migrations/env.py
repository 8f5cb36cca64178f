# SPDX-License-Identifier: GPL-3.0-or-later
"""Run migrations on the database of the app that called (``flask db …``)."""

from alembic import context
from flask import current_app

extension = current_app.extensions["migrate"]
metadata = extension.db.metadata

if context.is_offline_mode():
    url = extension.db.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with extension.db.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            **extension.configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()
