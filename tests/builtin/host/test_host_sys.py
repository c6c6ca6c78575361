"""Collectors that read /sys and the root file system, on small invented files."""

from __future__ import annotations

import pytest

from tinyobs.builtin.host import (
    bonding,
    clock,
    cpufreq,
    dmi,
    edac,
    hwmon,
    netclass,
    nvme,
    os_release,
    power_supply,
    rapl,
    selinux,
    thermal_zone,
    timex,
)
from tinyobs.model.metadata import MetricType


def test_device_properties(tree):
    """Numbers may be hexadecimal, speeds become bytes, unreadable files are left out."""
    base = "sys/class/net/eth0"
    for name, text in {
        "mtu": "1500",
        "flags": "0x1003",
        "speed": "1000",
        "carrier_changes": "4",
        "operstate": "up",
        "address": "02:00:00:00:00:01",
        "duplex": "full",
    }.items():
        tree.write(f"{base}/{name}", text + "\n")
    tree.write("sys/class/net/bonding_masters", "bond0\n")
    found = tree.series(netclass.collect)
    info = 'address="02:00:00:00:00:01", adminstate="up", device="eth0", duplex="full", operstate="up"'
    assert found == {
        'node_network_mtu_bytes{device="eth0"}': 1500,
        'node_network_flags{device="eth0"}': 0x1003,
        'node_network_speed_bytes{device="eth0"}': 125_000_000,
        'node_network_carrier_changes_total{device="eth0"}': 4,
        'node_network_up{device="eth0"}': 1,
        f"node_network_info{{{info}}}": 1,
    }
    assert tree.series(netclass.collect, netclass_ignored_devices="eth") == {}


def test_cpu_frequencies_in_hertz(tree):
    """The kernel's kHz become hertz; of the governors the one in force is 1."""
    base = "sys/devices/system/cpu/cpu0/cpufreq"
    tree.write(f"{base}/scaling_cur_freq", "1200000\n")
    tree.write(f"{base}/scaling_governor", "powersave\n")
    tree.write(f"{base}/scaling_available_governors", "performance powersave \n")
    tree.write("sys/devices/system/cpu/cpuidle/current_driver", "none\n")
    assert tree.series(cpufreq.collect) == {
        'node_cpu_scaling_frequency_hertz{cpu="0"}': 1.2e9,
        'node_cpu_scaling_governor{cpu="0", governor="performance"}': 0,
        'node_cpu_scaling_governor{cpu="0", governor="powersave"}': 1,
    }


def test_sensors_have_units_and_stable_names(tree):
    """A chip is named by its device's path; each kind of sensor has its unit; labels are series of their own."""
    base = "sys/devices/platform/coretemp.0/hwmon/hwmon3"
    files = {
        "name": "coretemp",
        "temp1_input": "42000",
        "temp1_crit": "100000",
        "temp1_crit_alarm": "0",
        "temp1_label": "Package id 0",
        "in0_input": "1250",
        "fan2_input": "900",
        "fan2_alarm": "1",
        "power1_average": "15000000",
        "power1_average_interval": "1000",
        "energy1_input": "3000000",
        "pwm1": "128",
        "update_interval": "2000",
        "uevent": "no sensor",
    }
    for name, text in files.items():
        tree.write(f"{base}/{name}", text + "\n")
    (tree.base / base / "device").symlink_to(tree.base / "sys/devices/platform/coretemp.0")
    (tree.base / "sys/class/hwmon").mkdir(parents=True)
    (tree.base / "sys/class/hwmon/hwmon3").symlink_to(tree.base / base)
    chip = 'chip="platform_coretemp_0"'
    assert tree.series(hwmon.collect) == {
        f'node_hwmon_chip_names{{{chip}, chip_name="coretemp"}}': 1,
        f'node_hwmon_sensor_label{{{chip}, label="Package id 0", sensor="temp1"}}': 1,
        f'node_hwmon_temp_celsius{{{chip}, sensor="temp1"}}': 42,
        f'node_hwmon_temp_crit_celsius{{{chip}, sensor="temp1"}}': 100,
        f'node_hwmon_temp_crit_alarm_celsius{{{chip}, sensor="temp1"}}': 0,
        f'node_hwmon_in_volts{{{chip}, sensor="in0"}}': 1.25,
        f'node_hwmon_fan_rpm{{{chip}, sensor="fan2"}}': 900,
        f'node_hwmon_fan_alarm{{{chip}, sensor="fan2"}}': 1,
        f'node_hwmon_power_average_watt{{{chip}, sensor="power1"}}': 15,
        f'node_hwmon_power_average_interval_seconds{{{chip}, sensor="power1"}}': 1,
        f'node_hwmon_energy_joule_total{{{chip}, sensor="energy1"}}': 3,
        f'node_hwmon_pwm{{{chip}, sensor="pwm1"}}': 128,
        f'node_hwmon_update_interval_seconds{{{chip}, sensor="update_interval0"}}': 2,
    }
    assert tree.families(hwmon.collect)["node_hwmon_energy_joule_total"].type is MetricType.COUNTER


def test_a_chip_without_device_is_called_by_its_name(tree):
    """Virtual chips have no device; one without a name either keeps the entry's."""
    tree.write("sys/class/hwmon/hwmon0/name", "acpi tz\n")
    tree.write("sys/class/hwmon/hwmon0/humidity1_input", "500000\n")
    tree.write("sys/class/hwmon/hwmon1/curr1_input", "1500\n")
    found = tree.series(hwmon.collect)
    assert found['node_hwmon_humidity{chip="acpi_tz", sensor="humidity1"}'] == 0.5
    assert found['node_hwmon_curr_amps{chip="hwmon1", sensor="curr1"}'] == 1.5


def test_chips_of_one_name_are_told_apart(tree):
    """Two that would be called alike get their entry's name as well; a clock needs a label, which is its sensor."""
    for i in (0, 1):
        tree.write(f"sys/class/hwmon/hwmon{i}/name", "nvme\n")
        tree.write(f"sys/class/hwmon/hwmon{i}/temp1_input", f"{i}000\n")
    tree.write("sys/class/hwmon/hwmon2/freq1_input", "500000000\n")
    tree.write("sys/class/hwmon/hwmon2/freq1_label", "SCLK\n")
    tree.write("sys/class/hwmon/hwmon2/freq2_input", "1\n")
    found = tree.series(hwmon.collect)
    assert found['node_hwmon_temp_celsius{chip="nvme_hwmon0", sensor="temp1"}'] == 0
    assert found['node_hwmon_temp_celsius{chip="nvme_hwmon1", sensor="temp1"}'] == 1
    assert found['node_hwmon_freq_freq_mhz{chip="hwmon2", sensor="sclk"}'] == 500
    assert len([k for k in found if "freq" in k and "label" not in k.split("{")[0]]) == 1


def test_thermal_zones(tree):
    """A zone that gives no temperature is left out."""
    tree.write("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n")
    tree.write("sys/class/thermal/thermal_zone0/temp", "48500\n")
    tree.write("sys/class/thermal/thermal_zone1/type", "off\n")
    tree.write("sys/class/thermal/cooling_device2/type", "Processor\n")
    tree.write("sys/class/thermal/cooling_device2/cur_state", "1\n")
    tree.write("sys/class/thermal/cooling_device2/max_state", "10\n")
    assert tree.series(thermal_zone.collect) == {
        'node_thermal_zone_temp{type="x86_pkg_temp", zone="0"}': 48.5,
        'node_cooling_device_cur_state{name="2", type="Processor"}': 1,
        'node_cooling_device_max_state{name="2", type="Processor"}': 10,
    }


def test_machine_make(tree):
    """What the firmware does not say is left out; a machine without the table has no metric."""
    with pytest.raises(FileNotFoundError):
        tree.series(dmi.collect)
    tree.write("sys/class/dmi/id/sys_vendor", "Invented Ltd\n")
    tree.write("sys/class/dmi/id/bios_version", "1.0 \n")
    assert tree.series(dmi.collect) == {'node_dmi_info{bios_version="1.0", system_vendor="Invented Ltd"}': 1}


OS_RELEASE = """# a comment
NAME="Invented Linux"
ID=invented
VERSION_ID="12.5.1"
PRETTY_NAME='Invented "Linux"'
BROKEN="no end
SUPPORT_END=2030-01-02
"""


@pytest.mark.parametrize("place", ["etc/os-release", "usr/lib/os-release"])
def test_operating_system(tree, place):
    """Quotes are the shell's; the version's first two parts are a number; the second place counts when needed."""
    with pytest.raises(FileNotFoundError):
        tree.series(os_release.collect)
    tree.write(f"root/{place}", OS_RELEASE)
    labels = 'id="invented", name="Invented Linux"'
    assert tree.series(os_release.collect) == {
        f'node_os_info{{{labels}, pretty_name="Invented \\"Linux\\"", version_id="12.5.1"}}': 1,
        f"node_os_version{{{labels}}}": 12.5,
        "node_os_support_end_timestamp_seconds": 1893542400,
    }


def test_clock_sources(tree):
    """Time and zone need no file; clock sources are read where the kernel shows them."""
    plain = tree.series(clock.collect)
    assert plain["node_time_seconds"] > 1e9
    assert len(plain) == 2
    tree.write("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet \n")
    tree.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
    found = set(tree.series(clock.collect))
    assert 'node_time_clocksource_available_info{clocksource="hpet", device="0"}' in found
    assert 'node_time_clocksource_current_info{clocksource="tsc", device="0"}' in found


def test_clock_discipline(tree):
    """The call changes nothing and gives a tick between 9 and 11 ms."""
    try:
        found = tree.series(timex.collect)
    except OSError as e:
        pytest.skip(f"adjtimex: {e}")
    assert len(found) == 17
    assert 0.009 <= found["node_timex_tick_seconds"] <= 0.011
    assert found["node_timex_frequency_adjustment_ratio"] == pytest.approx(1, abs=1e-3)


def test_selinux(tree):
    """No selinuxfs means that it is not used."""
    assert tree.series(selinux.collect) == {"node_selinux_enabled": 0}
    tree.write("sys/fs/selinux/enforce", "1")
    assert tree.series(selinux.collect) == {"node_selinux_enabled": 1, "node_selinux_current_mode": 1}


def test_bonds(tree):
    """Members with a link are active, in the old and the new place of their state."""
    with pytest.raises(FileNotFoundError):
        tree.series(bonding.collect)
    tree.write("sys/class/net/bonding_masters", "bond0\n")
    tree.write("sys/class/net/bond0/bonding/slaves", "eth0 eth1 eth2\n")
    tree.write("sys/class/net/bond0/lower_eth0/bonding_slave/mii_status", "up\n")
    tree.write("sys/class/net/eth1/bonding_slave/mii_status", "up\n")
    tree.write("sys/class/net/eth2/bonding_slave/mii_status", "down\n")
    assert tree.series(bonding.collect) == {
        'node_bonding_slaves{master="bond0"}': 3,
        'node_bonding_active{master="bond0"}': 2,
    }


def test_memory_errors(tree):
    """Controllers and rows; errors that no row is known for count under `unknown`."""
    assert tree.series(edac.collect) == {}
    base = "sys/devices/system/edac/mc/mc0"
    tree.write(f"{base}/ce_count", "1\n")
    tree.write(f"{base}/ue_noinfo_count", "2\n")
    tree.write(f"{base}/csrow0/ce_count", "3\n")
    tree.write("sys/devices/system/edac/mc/power", "\n")
    assert tree.series(edac.collect) == {
        'node_edac_correctable_errors_total{controller="0"}': 1,
        'node_edac_csrow_uncorrectable_errors_total{controller="0", csrow="unknown"}': 2,
        'node_edac_csrow_correctable_errors_total{controller="0", csrow="0"}': 3,
    }


def test_drives(tree):
    """One info series per drive."""
    tree.write("sys/class/nvme/nvme0/model", "Invented 970  \n")
    tree.write("sys/class/nvme/nvme0/state", "live\n")
    assert tree.series(nvme.collect) == {'node_nvme_info{device="nvme0", model="Invented 970", state="live"}': 1}


def test_energy(tree):
    """The index is taken off the zone's name, or off the directory where the name has none."""
    with pytest.raises(FileNotFoundError):
        tree.series(rapl.collect)
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:0:1", "core"), ("intel-rapl", "")):
        if name:
            tree.write(f"sys/class/powercap/{zone}/name", name + "\n")
            tree.write(f"sys/class/powercap/{zone}/energy_uj", "5000000\n")
        else:
            tree.write(f"sys/class/powercap/{zone}/enabled", "1\n")
    base = f"{tree.base}/sys/class/powercap"
    assert tree.series(rapl.collect) == {
        f'node_rapl_package_joules_total{{index="0", path="{base}/intel-rapl:0"}}': 5,
        f'node_rapl_core_joules_total{{index="1", path="{base}/intel-rapl:0:1"}}': 5,
    }


def test_power_supplies(tree):
    """Micro units become base units, tenths of degrees become degrees, texts become one info series."""
    base = "sys/class/power_supply/BAT0"
    for name, text in {"capacity": "81", "voltage_now": "12000000", "temp": "305", "status": "Full"}.items():
        tree.write(f"{base}/{name}", text + "\n")
    assert tree.series(power_supply.collect) == {
        'node_power_supply_capacity{power_supply="BAT0"}': 81,
        'node_power_supply_voltage_volt{power_supply="BAT0"}': 12,
        'node_power_supply_temp_celsius{power_supply="BAT0"}': 30.5,
        'node_power_supply_info{power_supply="BAT0", status="Full"}': 1,
    }
