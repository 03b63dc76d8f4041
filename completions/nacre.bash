# bash completion for nacre; made by `nacre completion`
_nacre()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=
    if [ "$COMP_CWORD" = 1 ]; then
        words='run doctor completion manual --help --version'
    else
        case $before in
        --kernel|--initrd|--disk) COMPREPLY=($(compgen -f -- "$word")); return ;;
        esac
        case ${COMP_WORDS[1]} in
        run) words='--kernel --initrd --append --cpus --memory --cpu --disk --net --serial --console --engine --engine-switch-every --code-cache --perf-map --stats --trace --no-hpet --no-reboot --quiet --help' ;;
        doctor) words='--help' ;;
        completion) words='--help' ;;
        manual) words='--help' ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _nacre nacre
