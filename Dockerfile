# One image for the web and the workers. `.dockerignore` names what goes into it.
FROM python:3.11.15-slim-trixie AS python

FROM python AS build
WORKDIR /desk
RUN python -m venv --without-pip /venv
COPY requirements.lock ./
RUN pip --python /venv/bin/python install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements.lock
ENV PATH=/venv/bin:$PATH
COPY . .
# The settings want a secret; this one is forgotten as soon as the files are collected.
RUN DJANGO_SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
    python manage.py collectstatic --no-input
# The image is read-only where it runs: nothing is compiled there.
RUN python -m compileall -q .

FROM python
COPY --from=build /venv /venv
COPY --from=build /desk /desk
WORKDIR /desk
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WEB_BIND=0.0.0.0:8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["gunicorn", "--config", "gunicorn.conf.py", "orders_site.asgi:application"]
