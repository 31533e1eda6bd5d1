#compdef ksplice
# SPDX-License-Identifier: MIT
# zsh: put it into a folder of $fpath as _ksplice
_ksplice() {
	local -a offers
	offers=(${(f)"$(ksplice "[suggest:$CURSOR]" "$BUFFER" 2>/dev/null)"})
	compadd -a offers || _files
}
_ksplice "$@"
