# What the layers are built for, and the certificates that pip and uv trust; both makefiles read it.

# The template's defaults are the one source of the version and the architecture, unless the environment names others.
TEMPLATE := $(dir $(lastword $(MAKEFILE_LIST)))../template.yaml
default = $(shell sed -n '/^  $(1):$$/,/Default:/s/^ *Default: *//p' "$(TEMPLATE)")
ifndef BRIDGE_PYTHON
BRIDGE_PYTHON := $(patsubst python%,%,$(call default,Runtime))
endif
ifndef BRIDGE_ARCH
BRIDGE_ARCH := $(call default,Architecture)
endif

# uv trusts a list of its own, and so does pip before 24.2. A TLS proxy's certificate is in the machine's list, which is
# what Python trusts: https://docs.astral.sh/uv/concepts/authentication/certificates
PYTHON ?= python3
ifeq ($(SSL_CERT_FILE)$(SSL_CERT_DIR),)
TRUSTED := $(or $(PIP_CERT),$(REQUESTS_CA_BUNDLE),$(shell $(PYTHON) -c 'import os, ssl; paths = ssl.get_default_verify_paths(); \
	print(paths.cafile or (paths.capath if paths.capath and os.listdir(paths.capath) else ""))' 2>/dev/null))
ifneq ($(TRUSTED),)
export $(if $(wildcard $(TRUSTED)/.),SSL_CERT_DIR,SSL_CERT_FILE) := $(TRUSTED)
endif
endif
