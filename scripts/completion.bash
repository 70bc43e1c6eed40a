# Completion for bash: the flags that a tool's own --help names, subcommands of zgcpreload, and files.
_zgc() {
  local word=${COMP_WORDS[COMP_CWORD]} words=("$1") other
  for other in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [ "$other" = -- ] && { COMPREPLY=($(compgen -f -c -- "$word")); return; }
  done
  if [ "${1##*/}" = zgcpreload ]; then
    if [ "$COMP_CWORD" = 1 ]; then
      COMPREPLY=($(compgen -W "$("$1" --help 2>/dev/null | sed -nE 's/^  ([a-z]+)  .*/\1/p')" -- "$word"))
      return
    fi
    words+=("${COMP_WORDS[1]}")
  fi
  case $word in
    -*) COMPREPLY=($(compgen -W "$("${words[@]}" --help 2>/dev/null | grep -oE -- '--[a-z][a-z-]*' | sort -u)" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _zgc zgc-ab zgc-log zgc-perf zgc-run zgc-stat zgcpreload
