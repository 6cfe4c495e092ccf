# Agents in one region of Azure: call it once a region. They dial out; nothing may connect to them from the internet.

resource "azurerm_network_security_group" "agent" {
  name                = "faultline-agent"
  location            = var.location
  resource_group_name = var.resource_group_name
  tags                = var.tags

  security_rule {
    name                       = "nobody-in"
    priority                   = 100
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_port_range          = "*"
    destination_port_range     = "*"
    source_address_prefix      = "Internet"
    destination_address_prefix = "*"
  }
}

resource "azurerm_public_ip" "agent" {
  for_each = var.names

  name                = each.key
  location            = var.location
  resource_group_name = var.resource_group_name
  allocation_method   = "Static"
  sku                 = "Standard"
  tags                = var.tags
}

resource "azurerm_network_interface" "agent" {
  for_each = var.names

  name                = each.key
  location            = var.location
  resource_group_name = var.resource_group_name
  tags                = var.tags

  ip_configuration {
    name                          = "agent"
    subnet_id                     = var.subnet_id
    private_ip_address_allocation = "Dynamic"
    public_ip_address_id          = azurerm_public_ip.agent[each.key].id
  }
}

resource "azurerm_network_interface_security_group_association" "agent" {
  for_each = var.names

  network_interface_id      = azurerm_network_interface.agent[each.key].id
  network_security_group_id = azurerm_network_security_group.agent.id
}

resource "azurerm_linux_virtual_machine" "agent" {
  for_each = var.names

  name                  = each.key
  location              = var.location
  resource_group_name   = var.resource_group_name
  size                  = var.vm_size
  admin_username        = "faultline"
  network_interface_ids = [azurerm_network_interface.agent[each.key].id]
  custom_data           = base64encode(var.user_data)
  tags                  = var.tags

  admin_ssh_key {
    username   = "faultline"
    public_key = var.admin_public_key
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [var.identity_id]
  }

  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "StandardSSD_LRS"
  }

  source_image_reference {
    publisher = "Debian"
    offer     = "debian-12"
    sku       = "12-gen2"
    version   = "latest"
  }

  lifecycle {
    # A changed template must not replace a fleet.
    ignore_changes = [custom_data]
  }
}
