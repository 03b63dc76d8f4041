# bash completion for nacre; made by `nacre completion`
_nacre()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words= files=
    if [ "$COMP_CWORD" = 1 ]; then
        words='run create start stop pause resume reset set show screenshot type key attach detach console ssh exec list log rename delete prune snapshot restore clone vmm image network doctor completion manual --help --version'
    else
        case $before in
        --kernel) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --initrd) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --module) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --firmware) COMPREPLY=($(compgen -W 'bios uefi' -- "$word")); return ;;
        --boot) COMPREPLY=($(compgen -W 'disk cdrom floppy net' -- "$word")); return ;;
        --cpu) COMPREPLY=($(compgen -W 'x86-64-v2 x86-64-v3 x86-64-v4 host x86-64-v1' -- "$word")); return ;;
        --disk) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --cdrom) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --floppy) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --serial) COMPREPLY=($(compgen -W 'stdio pty unix: file: fd: none' -- "$word")); return ;;
        --display) COMPREPLY=($(compgen -W 'none text vnc=' -- "$word")); return ;;
        --engine) COMPREPLY=($(compgen -W 'auto translate interpret' -- "$word")); return ;;
        --trace) COMPREPLY=($(compgen -W 'exits port mmio irq msr exception' -- "$word")); return ;;
        --trace-file) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --log-level) COMPREPLY=($(compgen -W 'error warning info debug' -- "$word")); return ;;
        --log-file) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --jail) COMPREPLY=($(compgen -W 'on log off' -- "$word")); return ;;
        --image) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --cloud-init) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --disk) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --identity) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --identity) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --api-socket) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --backing) COMPREPLY=($(compgen -f -- "$word")); return ;;
        --repair) COMPREPLY=($(compgen -W 'leaks all' -- "$word")); return ;;
        --backing) COMPREPLY=($(compgen -f -- "$word")); return ;;
        esac
        case ${COMP_WORDS[1]} in
        run) words='--kernel --initrd --module --firmware --boot --append --cpus --memory --cpu --disk --cdrom --floppy --net --serial --console --debug-console --display --engine --engine-switch-every --code-cache --perf-map --stats --trace --trace-file --log-level --log-file --restore --restore-verify --restore-clone --save --name --jail --control --test-device --no-hpet --no-reboot --quiet --help' ;;
        create) words='--image --image-size --cloud-init --kernel --initrd --module --firmware --boot --append --cpus --memory --cpu --disk --cdrom --floppy --net --serial --console --debug-console --display --engine --engine-switch-every --code-cache --perf-map --stats --trace --trace-file --log-level --log-file --restore --restore-verify --restore-clone --save --name --jail --control --test-device --no-hpet --no-reboot --quiet --help' ;;
        start) words='--foreground --help' ;;
        stop) words='--timeout --force --help' ;;
        pause) words='--help' ;;
        resume) words='--help' ;;
        reset) words='--help' ;;
        set) words='--drop --kernel --initrd --module --firmware --boot --append --cpus --memory --cpu --disk --cdrom --floppy --net --serial --console --debug-console --display --engine --engine-switch-every --code-cache --perf-map --stats --trace --trace-file --log-level --log-file --restore --restore-verify --restore-clone --save --name --jail --control --test-device --no-hpet --no-reboot --quiet --help' ;;
        show) words='--json --help' ;;
        screenshot) words='--text --help' ;;
        type) words='--enter --help' ;;
        key) words='--help' ;;
        attach) words='--disk --id --format --readonly --help' ;;
        detach) words='--help' ;;
        console) words='--help' ;;
        ssh) words='--user --identity --help' ;;
        exec) words='--user --identity --help' ;;
        list) words='--json --help' ;;
        log) words='--console --messages --json --help' ;;
        rename) words='--help' ;;
        delete) words='--help' ;;
        prune) words='--days --delete --help' ;;
        snapshot) words='--delete --help' ;;
        restore) words='--help' ;;
        clone) words='--tag --help' ;;
        vmm) words='--api-socket --help' ;;
        image) words='create info check map convert resize commit rebase snapshot --format --backing --backing-format --cluster-size --refcount-bits --lazy-refcounts --qcow2-version --replace --format --format --repair --format --format --target-format --replace --quiet --format --shrink --format --quiet --format --backing --backing-format --unsafe --quiet --help'; files=-f ;;
        network) words='create list delete --nat --bridge --address --uplink --help'; files=-f ;;
        doctor) words='--help' ;;
        completion) words='--help' ;;
        manual) words='--help' ;;
        esac
    fi
    COMPREPLY=($(compgen $files -W "$words" -- "$word"))
}
complete -F _nacre nacre
