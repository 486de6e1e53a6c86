#!/bin/sh
# Builds the container image: deploy/image/build.sh [TAG]
#
# WHEELS names a folder of wheels that is there already (Stockade's own, what it depends on, and pip);
# without it they are fetched first, at the pinned versions, which is all that takes a network here.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$here/../.." && pwd)
tag=${1:-stockade:latest}
work=$(mktemp -d)
trap 'docker rmi "stockade-base:$$" "stockade-installed:$$" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

mkdir "$work/wheels"
if [ -n "${WHEELS:-}" ]; then
    cp "$WHEELS"/*.whl "$work/wheels"
else
    echo "fetching wheels"
    # With the interpreter that the image will have.
    /usr/bin/python3 -m venv "$work/venv"
    pip="$work/venv/bin/python -I -m pip --disable-pip-version-check --quiet"
    $pip install "pip>=25.1,<27"
    $pip wheel --constraint "$checkout/constraints.txt" --wheel-dir "$work/wheels" \
        "$checkout[otel]" "pip>=25.1,<27"
fi
cp "$here/Dockerfile" "$work"
/usr/bin/python3 -I "$here/root.py" >"$work/root.tar"
docker import "$work/root.tar" "stockade-base:$$" >/dev/null
rm "$work/root.tar"
echo "building $tag"
# The builder that every engine has: the newer one would want a plug-in, and a base from a registry.
# It keeps what it built on the way: by a name of its own that can be taken away.
for stage in "--target installed --tag stockade-installed:$$" "--tag $tag"; do
    # shellcheck disable=SC2086 # words
    DOCKER_BUILDKIT=0 docker build --quiet --network=none --build-arg "BASE=stockade-base:$$" \
        $stage "$work" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
done
docker image inspect --format 'built {{index .RepoTags 0}}, {{.Size}} bytes' "$tag"
